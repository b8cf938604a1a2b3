//! What the addresses of a recorded kernel are called.

mod common;

use common::{
    Elf, IN_KERNEL, KERNEL, KERNEL_MODE, Recorded, Records, Sampled, attr, named, names, one_event,
    symbol,
};
use prof_event::abi::callchain;
use prof_model::{BuildId, CpuMode, DsoKind, Pid, Reason, Resolution, SymbolSource};
use prof_perfdata::StoredBuildId;
use prof_symbolizer::{AsmSyntax, NoCode};

#[test]
fn a_kernels_table_that_was_given_by_hand_wins_over_stored_names_of_the_kernel_only() {
    let mut recorded = Recorded::new();
    recorded.store_kernel();
    recorded.store(
        recorded.places[0],
        symbol(("stored", "raw"), SymbolSource::Symtab),
    );
    assert_eq!(recorded.kernel_name(|_| {}), named("stored_kernel"));
    let kallsyms = recorded.kallsyms(KERNEL.start);
    let names = recorded.names(|options| options.kallsyms = Some(kallsyms.clone()));
    assert_eq!(names[..2], [named("do_work"), named("stored")]);

    let vmlinux = recorded.path("vmlinux");
    let mut elf = Elf::at(KERNEL.start);
    elf.function("startup", &[0x90; 0x1000 - Elf::CODE as usize]);
    elf.function("from_vmlinux", &[0x90; 0x100]);
    elf.save(&vmlinux);
    let name = recorded.kernel_name(|options| {
        options.kallsyms = Some(kallsyms);
        options.vmlinux = Some(vmlinux);
    });
    assert_eq!(name, named("from_vmlinux"));
}

#[test]
fn a_kernel_that_lies_elsewhere_since_is_named_by_the_distance() {
    let recorded = Recorded::new();
    let kallsyms = recorded.kallsyms(KERNEL.start + 0x1000_0000);
    let mut loaded = recorded.load(|options| options.kallsyms = Some(kallsyms));
    assert_eq!(names(&loaded)[0], named("do_work"));
    let function = loaded
        .namer
        .kernel_function(&loaded.tracker, IN_KERNEL + 0x123);
    assert_eq!(function, Some(("do_work".to_owned(), 0x123)));
    let below = loaded
        .namer
        .kernel_function(&loaded.tracker, KERNEL.start - 0x1000);
    assert_eq!(below, None);
}

#[test]
fn addresses_of_another_kernel_have_no_names_of_this_one_unless_a_table_was_given() {
    let other = StoredBuildId {
        mode: CpuMode::Kernel,
        pid: Pid(-1),
        build_id: BuildId::new(&[9; 20]).unwrap(),
        path: b"[kernel.kallsyms]".to_vec(),
    };
    let mut of_another_release = Recorded::new();
    of_another_release.features.os_release = Some("0.0.1-other".to_owned());
    let mut of_another_id = Recorded::new();
    of_another_id.features.build_ids.push(other);
    for recorded in [of_another_release, of_another_id] {
        assert_eq!(recorded.kernel_name(|_| {}), Err(Reason::OtherKernel));
        let kallsyms = recorded.kallsyms(KERNEL.start);
        let name = recorded.kernel_name(|options| options.kallsyms = Some(kallsyms));
        assert_eq!(name, named("do_work"));
    }
}

#[test]
fn a_kernel_of_which_no_record_says_where_it_lay_has_neither_names_nor_code() {
    let mut recorded = Recorded::new();
    let mut records = Records::of(one_event(attr(0)));
    records.sample(&Sampled {
        mode: KERNEL_MODE,
        chain: vec![callchain::KERNEL, IN_KERNEL],
        ..Sampled::default()
    });
    recorded.records = records;
    let mut loaded = recorded.load(|_| {});
    assert_eq!(names(&loaded), [Err(Reason::KernelRestricted)]);
    let mut dsos = loaded.profile.dsos.iter();
    let (id, dso) = dsos.find(|(_, dso)| dso.kind == DsoKind::Kernel).unwrap();
    let Resolution::Named { symbol, .. } = symbol(("f", "f"), SymbolSource::Kallsyms) else {
        unreachable!();
    };
    let code = loaded.namer.code(id, dso, &symbol, AsmSyntax::Att);
    let why = Reason::KernelRestricted.describe().to_owned();
    assert!(matches!(code, Err(NoCode::Kernel(reasons)) if reasons == [why]));
}
