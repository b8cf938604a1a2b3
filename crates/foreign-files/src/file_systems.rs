//! File systems whose files show, or change, what is in the kernel: reading one may cost any time and memory,
//! or use up what it shows.

use std::os::fd::AsFd;

use nix::sys::statfs::fstatfs;

/// The numbers in `statfs` of those, from `include/uapi/linux/magic.h` where not said otherwise.
const OF_THE_KERNEL: [u32; 28] = [
    0x0000_9fa0, // proc
    0x6265_6572, // sysfs
    0x7472_6163, // tracefs
    0x6462_6720, // debugfs
    0x7363_6673, // securityfs
    0xf97c_ff8c, // selinuxfs
    0x4341_5d53, // smackfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0xcafe_4a11, // bpf
    0x6165_676c, // pstore
    0xde5e_81e4, // efivarfs
    0x6265_6570, // configfs, fs/configfs/mount.c
    0x4249_4e4d, // binfmt_misc
    0x0000_1cd1, // devpts
    0x534f_434b, // sockets
    0x5049_5045, // pipes
    0x0904_1934, // anonymous inodes
    0x6573_5543, // fusectl
    0x1980_0202, // mqueue, ipc/mqueue.c
    0x0765_5821, // resctrl
    0x6c6f_6f70, // binder
    0x6e73_6673, // namespaces
    0x5049_4446, // pidfd
    0x5345_434d, // secretmem
    0x444d_4142, // dma-buf
    0xabba_1974, // xenfs
    0x0000_9fa2, // usbdevice
];

/// Whether an open file belongs to such a file system. The path there does not matter: `/proc/PID/root/...`
/// leads through one to files that lie elsewhere.
pub(crate) fn is_of_the_kernel(file: impl AsFd) -> nix::Result<bool> {
    let kind = fstatfs(file)?.filesystem_type().0;
    // A long of 32 bits is negative where the number's first bit is set.
    Ok(OF_THE_KERNEL.contains(&(kind as u32)))
}
