use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A process, by the id of its first thread. -1 stands for the kernel or for all processes.
    Pid(i32)
}
id! {
    /// A thread.
    Tid(i32)
}
id! {
    /// A logical CPU, as `/sys/devices/system/cpu` numbers it.
    Cpu(u32)
}
