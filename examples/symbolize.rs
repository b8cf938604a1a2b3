//! Names an address of a program or library: function, inlined functions, source line.
//!
//!     cargo run -p prof-examples --bin symbolize -- FILE OFFSET
//!
//! OFFSET counts from the start of the file, as `module+0x1234` in a report does.

use std::error::Error;
use std::os::unix::ffi::OsStrExt;

use prof_model::{Dso, DsoAddr, DsoId, DsoKind, Resolution};
use prof_symbolizer::{Options, Symbolizer};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let [file, offset] = args.as_slice() else {
        return Err("which file, and which offset?".into());
    };
    let offset = offset.to_str().ok_or("the offset is a number")?;
    let offset = match offset.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16)?,
        None => offset.parse()?,
    };
    let dso = Dso {
        path: std::fs::canonicalize(file)?.as_os_str().as_bytes().to_vec(),
        kind: DsoKind::File,
        file: None, // with device and inode, another file at this path would be rejected
        build_id: None, // likewise
    };
    let mut symbolizer = Symbolizer::new(Options::default());
    let answers = symbolizer.resolve(DsoId(0), &dso, &[DsoAddr(offset)]);
    match &answers[0] {
        Resolution::Named {
            symbol,
            inlined,
            location,
        } => {
            for frame in inlined {
                println!("{} (inlined)", frame.name);
            }
            println!("{}+{:#x}", symbol.name, offset - symbol.start);
            if let Some(line) = location {
                println!("{}:{}", line.file, line.line);
            }
        }
        Resolution::Unresolved(reason) => println!("no name: {}", reason.describe()),
    }
    Ok(())
}
