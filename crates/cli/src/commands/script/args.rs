//! The arguments of `prof script`.

use prof_event::abi::record;
use prof_report::Filter;

use super::times::TimeOrigin;
use crate::command_line::shared::InputArgs;
use crate::messages::CliError;
use crate::sampling;

/// `prof script`.
#[derive(clap::Args, Debug, Clone)]
pub struct ScriptArgs {
    #[command(flatten)]
    pub input: InputArgs,

    /// Fields: comm, tid, pid, time, cpu, misc, period, event, trace, addr, ip, sym, symoff, dso,
    /// srcline; where they were recorded: iregs, uregs, brstack, brstacksym, brstackoff, data_src,
    /// weight, ins_lat, phys_addr, data_page_size, code_page_size
    #[arg(
        short = 'F',
        long,
        value_name = "FIELD,...",
        allow_hyphen_values = true
    )]
    pub fields: Option<String>,

    /// No callchains
    #[arg(short = 'G', long)]
    pub hide_call_graph: bool,

    /// Times with nanoseconds
    #[arg(long)]
    pub ns: bool,

    /// Times from the first sample that is printed
    #[arg(long, conflicts_with = "deltatime")]
    pub reltime: bool,

    /// Times from the sample before
    #[arg(long)]
    pub deltatime: bool,

    /// Only samples in these functions
    #[arg(short = 'S', long, value_name = "SYMBOL,...", value_delimiter = ',')]
    pub symbols: Vec<String>,

    /// Only samples on these CPUs
    #[arg(short = 'C', long, value_name = "LIST")]
    pub cpu: Option<String>,

    /// First what is known about the recording
    #[arg(long)]
    pub header: bool,

    /// Only what is known about the recording
    #[arg(long)]
    pub header_only: bool,

    /// With --header also CPUs and memory nodes
    #[arg(short = 'I', long)]
    pub show_info: bool,

    #[command(flatten)]
    pub show: ShowArgs,
}

/// Which records `prof script` prints beside the samples.
#[derive(clap::Args, Debug, Clone)]
pub struct ShowArgs {
    /// Also names, starts and ends of threads
    #[arg(long = "show-task-events")]
    pub task_events: bool,

    /// Also what is mapped
    #[arg(long = "show-mmap-events")]
    pub mmap_events: bool,

    /// Also how many records were lost
    #[arg(long = "show-lost-events")]
    pub lost_events: bool,

    /// Also which threads were put on a CPU or taken off it
    #[arg(long = "show-switch-events")]
    pub switch_events: bool,

    /// Also in which namespaces threads live
    #[arg(long = "show-namespace-events")]
    pub namespace_events: bool,

    /// Also BPF programs and other code that the kernel made
    #[arg(long = "show-bpf-events")]
    pub bpf_events: bool,

    /// Also control groups
    #[arg(long = "show-cgroup-events")]
    pub cgroup_events: bool,

    /// Also where the kernel changed its code
    #[arg(long = "show-text-poke-events")]
    pub text_poke_events: bool,

    /// Also where a round of reading the rings ended
    #[arg(long = "show-round-events")]
    pub round_events: bool,
}

impl ScriptArgs {
    /// The samples that are wanted.
    ///
    /// # Errors
    /// A list of CPUs that is none.
    pub fn filter(&self) -> Result<Filter, CliError> {
        let cpus = self.cpu.as_deref().map(sampling::cpus).transpose()?;
        Ok(Filter {
            symbols: self.symbols.clone(),
            cpus: cpus.unwrap_or_default(),
            ..self.input.filter()
        })
    }

    /// What printed times count from.
    pub fn time_origin(&self) -> TimeOrigin {
        match (self.reltime, self.deltatime) {
            (true, _) => TimeOrigin::First,
            (_, true) => TimeOrigin::Previous,
            _ => TimeOrigin::Clock,
        }
    }
}

impl ShowArgs {
    /// The kinds of records that are asked for.
    pub fn kinds(&self) -> Vec<u32> {
        let groups: [(bool, &[u32]); 9] = [
            (
                self.task_events,
                &[record::COMM, record::FORK, record::EXIT],
            ),
            (self.mmap_events, &[record::MMAP, record::MMAP2]),
            (self.lost_events, &[record::LOST]),
            (
                self.switch_events,
                &[record::SWITCH, record::SWITCH_CPU_WIDE],
            ),
            (self.namespace_events, &[record::NAMESPACES]),
            (self.bpf_events, &[record::KSYMBOL, record::BPF_EVENT]),
            (self.cgroup_events, &[record::CGROUP]),
            (self.text_poke_events, &[record::TEXT_POKE]),
            (self.round_events, &[record::FINISHED_ROUND]),
        ];
        let asked = groups.into_iter().filter(|(is_asked, _)| *is_asked);
        asked.flat_map(|(_, kinds)| kinds).copied().collect()
    }
}
