//! An attr as text: each field that is set, by the kernel's name for it.

use crate::abi::{flag, read_format, sample};
use crate::attr::{EventAttr, WRITTEN_SIZE};

const SAMPLE_TYPES: [(u64, &str); 25] = [
    (sample::IP, "IP"),
    (sample::TID, "TID"),
    (sample::TIME, "TIME"),
    (sample::ADDR, "ADDR"),
    (sample::READ, "READ"),
    (sample::CALLCHAIN, "CALLCHAIN"),
    (sample::ID, "ID"),
    (sample::CPU, "CPU"),
    (sample::PERIOD, "PERIOD"),
    (sample::STREAM_ID, "STREAM_ID"),
    (sample::RAW, "RAW"),
    (sample::BRANCH_STACK, "BRANCH_STACK"),
    (sample::REGS_USER, "REGS_USER"),
    (sample::STACK_USER, "STACK_USER"),
    (sample::IDENTIFIER, "IDENTIFIER"),
    (sample::REGS_INTR, "REGS_INTR"),
    (sample::DATA_SRC, "DATA_SRC"),
    (sample::WEIGHT, "WEIGHT"),
    (sample::PHYS_ADDR, "PHYS_ADDR"),
    (sample::AUX, "AUX"),
    (sample::CGROUP, "CGROUP"),
    (sample::DATA_PAGE_SIZE, "DATA_PAGE_SIZE"),
    (sample::CODE_PAGE_SIZE, "CODE_PAGE_SIZE"),
    (sample::WEIGHT_STRUCT, "WEIGHT_STRUCT"),
    (sample::TRANSACTION, "TRANSACTION"),
];

const READ_FORMATS: [(u64, &str); 5] = [
    (read_format::TOTAL_TIME_ENABLED, "TOTAL_TIME_ENABLED"),
    (read_format::TOTAL_TIME_RUNNING, "TOTAL_TIME_RUNNING"),
    (read_format::ID, "ID"),
    (read_format::GROUP, "GROUP"),
    (read_format::LOST, "LOST"),
];

/// Which branches are recorded, and what of them: from the lowest bit on.
const BRANCHES: [&str; 20] = [
    "USER",
    "KERNEL",
    "HV",
    "ANY",
    "ANY_CALL",
    "ANY_RETURN",
    "IND_CALL",
    "ABORT_TX",
    "IN_TX",
    "NO_TX",
    "COND",
    "CALL_STACK",
    "IND_JUMP",
    "CALL",
    "NO_FLAGS",
    "NO_CYCLES",
    "TYPE_SAVE",
    "HW_INDEX",
    "PRIV_SAVE",
    "COUNTERS",
];

/// In the order of the flag word; `precise_ip` lies between the two parts.
const FIRST_FLAGS: [(u64, &str); 15] = [
    (flag::DISABLED, "disabled"),
    (flag::INHERIT, "inherit"),
    (flag::PINNED, "pinned"),
    (flag::EXCLUSIVE, "exclusive"),
    (flag::EXCLUDE_USER, "exclude_user"),
    (flag::EXCLUDE_KERNEL, "exclude_kernel"),
    (flag::EXCLUDE_HV, "exclude_hv"),
    (flag::EXCLUDE_IDLE, "exclude_idle"),
    (flag::MMAP, "mmap"),
    (flag::COMM, "comm"),
    (flag::FREQ, "freq"),
    (flag::INHERIT_STAT, "inherit_stat"),
    (flag::ENABLE_ON_EXEC, "enable_on_exec"),
    (flag::TASK, "task"),
    (flag::WATERMARK, "watermark"),
];

const LAST_FLAGS: [(u64, &str); 18] = [
    (flag::MMAP_DATA, "mmap_data"),
    (flag::SAMPLE_ID_ALL, "sample_id_all"),
    (flag::EXCLUDE_HOST, "exclude_host"),
    (flag::EXCLUDE_GUEST, "exclude_guest"),
    (flag::EXCLUDE_CALLCHAIN_KERNEL, "exclude_callchain_kernel"),
    (flag::EXCLUDE_CALLCHAIN_USER, "exclude_callchain_user"),
    (flag::MMAP2, "mmap2"),
    (flag::COMM_EXEC, "comm_exec"),
    (flag::USE_CLOCKID, "use_clockid"),
    (flag::CONTEXT_SWITCH, "context_switch"),
    (flag::WRITE_BACKWARD, "write_backward"),
    (flag::NAMESPACES, "namespaces"),
    (flag::KSYMBOL, "ksymbol"),
    (flag::BPF_EVENT, "bpf_event"),
    (flag::AUX_OUTPUT, "aux_output"),
    (flag::CGROUP, "cgroup"),
    (flag::TEXT_POKE, "text_poke"),
    (flag::BUILD_ID, "build_id"),
];

impl EventAttr {
    /// Every field that is not zero, as `perf evlist -v` prints it: name and value.
    pub fn describe(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("type", self.kind.to_string()),
            ("size", WRITTEN_SIZE.to_string()),
        ];
        let mut put = |name, value: u64, text: String| {
            if value != 0 {
                fields.push((name, text));
            }
        };
        let hex = |value: u64| format!("{value:#x}");
        put("config", self.config, hex(self.config));
        let period = self.sample_period_or_freq;
        put("{ sample_period, sample_freq }", period, period.to_string());
        put(
            "sample_type",
            self.sample_type,
            names(self.sample_type, &SAMPLE_TYPES),
        );
        put(
            "read_format",
            self.read_format,
            names(self.read_format, &READ_FORMATS),
        );
        for (bit, name) in FIRST_FLAGS {
            put(name, self.flags & bit, "1".to_owned());
        }
        let precise = u64::from(self.precise_ip());
        put("precise_ip", precise, precise.to_string());
        for (bit, name) in LAST_FLAGS {
            put(name, self.flags & bit, "1".to_owned());
        }
        let wakeup = u64::from(self.wakeup);
        put(
            "{ wakeup_events, wakeup_watermark }",
            wakeup,
            wakeup.to_string(),
        );
        let bp_type = u64::from(self.bp_type);
        put("bp_type", bp_type, bp_type.to_string());
        put("{ bp_addr, config1 }", self.config1, hex(self.config1));
        put("{ bp_len, config2 }", self.config2, hex(self.config2));
        let branches = self.branch_sample_type;
        let bits: [_; BRANCHES.len()] = std::array::from_fn(|bit| (1 << bit, BRANCHES[bit]));
        put("branch_sample_type", branches, names(branches, &bits));
        let registers = self.sample_regs_user;
        put("sample_regs_user", registers, hex(registers));
        let stack = u64::from(self.sample_stack_user);
        put("sample_stack_user", stack, stack.to_string());
        put("clockid", self.clockid as u64, self.clockid.to_string());
        let registers = self.sample_regs_intr;
        put("sample_regs_intr", registers, hex(registers));
        let aux = u64::from(self.aux_watermark);
        put("aux_watermark", aux, aux.to_string());
        let frames = u64::from(self.sample_max_stack);
        put("sample_max_stack", frames, frames.to_string());
        let aux = u64::from(self.aux_sample_size);
        put("aux_sample_size", aux, aux.to_string());
        put("sig_data", self.sig_data, self.sig_data.to_string());
        fields
    }
}

/// The names of the bits of a mask; those without a name as a number.
fn names(mask: u64, table: &[(u64, &str)]) -> String {
    let mut rest = mask;
    let mut words = Vec::new();
    for &(bit, name) in table {
        if mask & bit != 0 {
            words.push(name.to_owned());
            rest &= !bit;
        }
    }
    if rest != 0 {
        words.push(format!("{rest:#x}"));
    }
    words.join("|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::branch;

    #[test]
    fn only_fields_that_are_set_are_told_and_bits_have_names() {
        let attr = EventAttr {
            kind: 1,
            sample_period_or_freq: 997,
            sample_type: sample::IP | sample::DATA_SRC | 1 << 40,
            branch_sample_type: branch::HW_INDEX | 1 << 3 | 1 << 20,
            flags: flag::FREQ | flag::PRECISE_IP_2 | flag::SAMPLE_ID_ALL,
            ..EventAttr::default()
        };
        let fields = attr.describe().into_iter();
        let words: Vec<_> = fields
            .map(|(name, text)| format!("{name}: {text}"))
            .collect();
        assert_eq!(
            words.join(", "),
            "type: 1, size: 128, { sample_period, sample_freq }: 997, \
             sample_type: IP|DATA_SRC|0x10000000000, freq: 1, precise_ip: 2, sample_id_all: 1, \
             branch_sample_type: ANY|HW_INDEX|0x100000"
        );
    }
}
