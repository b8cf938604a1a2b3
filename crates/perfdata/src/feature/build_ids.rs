use prof_event::abi::misc;
use prof_event::{HEADER_SIZE, RECORD_ALIGN, RawRecord, Reader, Short};
use prof_model::{BuildId, CpuMode, Pid};

/// The build-id of a file that samples hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBuildId {
    /// [`CpuMode::Kernel`] for the kernel and its modules, [`CpuMode::User`] for the rest.
    pub mode: CpuMode,
    /// -1, or the id of a virtual machine.
    pub pid: Pid,
    /// The build-id.
    pub build_id: BuildId,
    /// As in the mapping's record.
    pub path: Vec<u8>,
}

/// Bytes that a build-id takes.
const ID_SIZE: usize = 20;
/// Room for a path, in steps.
const PATH_ALIGN: usize = 64;

impl StoredBuildId {
    /// The body of a record of the section, or of a pipe, and its misc.
    pub(crate) fn to_body(&self) -> (u16, Vec<u8>) {
        let mode = match self.mode {
            CpuMode::Kernel => misc::KERNEL,
            CpuMode::Hypervisor => misc::HYPERVISOR,
            CpuMode::GuestKernel => misc::GUEST_KERNEL,
            CpuMode::GuestUser => misc::GUEST_USER,
            CpuMode::User | CpuMode::Unknown => misc::USER,
        };
        let id = self.build_id.as_bytes();
        let mut body = self.pid.0.to_le_bytes().to_vec();
        body.extend(id);
        body.resize(4 + ID_SIZE, 0);
        body.extend([id.len() as u8, 0, 0, 0]);
        let path = &self.path[..self.path.len().min(4095)]; // no path is longer
        let end = body.len() + (path.len() + 1).next_multiple_of(PATH_ALIGN);
        let end = end.next_multiple_of(RECORD_ALIGN);
        body.extend(path);
        body.resize(end, 0);
        (mode | misc::BUILD_ID_SIZE, body)
    }

    fn parse(raw: RawRecord<'_>) -> Result<Option<Self>, Short> {
        let mut reader = Reader::new(raw.body());
        let pid = Pid(reader.u32()? as i32);
        let id = reader.bytes(ID_SIZE)?;
        let len = usize::from(reader.u8()?);
        reader.bytes(3)?;
        let len = match raw.misc & misc::BUILD_ID_SIZE {
            0 => ID_SIZE,
            _ => len.min(ID_SIZE),
        };
        let path = reader.c_string().to_vec();
        Ok(BuildId::new(&id[..len]).map(|build_id| Self {
            mode: raw.cpu_mode(),
            pid,
            build_id,
            path,
        }))
    }
}

/// The section; `None` if there is nothing to say.
pub(super) fn to_bytes(build_ids: &[StoredBuildId]) -> Option<Vec<u8>> {
    let mut section = Vec::new();
    for build_id in build_ids {
        let (misc, body) = build_id.to_body();
        section.extend(0u32.to_le_bytes());
        section.extend(misc.to_le_bytes());
        section.extend(((HEADER_SIZE + body.len()) as u16).to_le_bytes());
        section.extend(body);
    }
    (!section.is_empty()).then_some(section)
}

/// Reads the section, or the one record that a pipe has for each.
pub(crate) fn parse(mut section: &[u8]) -> Result<Vec<StoredBuildId>, Short> {
    let mut build_ids = Vec::new();
    while !section.is_empty() {
        let raw = RawRecord::parse(section)?;
        build_ids.extend(StoredBuildId::parse(raw)?);
        section = &section[raw.bytes.len()..];
    }
    Ok(build_ids)
}
