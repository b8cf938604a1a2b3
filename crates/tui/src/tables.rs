use std::hash::Hash;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::function::Spot;
use crate::{Function, Kind, Process, Thread};

/// Values, each once, numbered from 0 in the order of their arrival.
#[derive(Debug)]
pub(crate) struct Interner<T: ?Sized> {
    values: Vec<Arc<T>>,
    ids: FxHashMap<Arc<T>, u32>,
}

impl<T: ?Sized> Clone for Interner<T>
where
    FxHashMap<Arc<T>, u32>: Clone,
{
    fn clone(&self) -> Self {
        Self {
            values: self.values.clone(),
            ids: self.ids.clone(),
        }
    }
}

impl<T: ?Sized> Default for Interner<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            ids: FxHashMap::default(),
        }
    }
}

impl<T: ?Sized + Hash + Eq> Interner<T> {
    /// The number of a shared value.
    pub(crate) fn share(&mut self, value: &Arc<T>) -> u32 {
        match self.ids.get(value) {
            Some(&id) => id,
            None => self.insert(Arc::clone(value)),
        }
    }

    fn insert(&mut self, value: Arc<T>) -> u32 {
        let id = self.values.len() as u32;
        self.values.push(Arc::clone(&value));
        self.ids.insert(value, id);
        id
    }

    pub(crate) fn find(&self, value: &T) -> Option<u32> {
        self.ids.get(value).copied()
    }

    pub(crate) fn get(&self, id: u32) -> &Arc<T> {
        &self.values[id as usize]
    }

    /// What looks equal but says more, such as a thread's new name.
    pub(crate) fn renew(&mut self, id: u32, value: Arc<T>) {
        self.ids.remove(&value);
        self.values[id as usize] = Arc::clone(&value);
        self.ids.insert(value, id);
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }
}

/// The stack without frames.
pub(crate) const ROOT: u32 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) parent: u32,
    pub(crate) function: u32,
}

const _: () = assert!(size_of::<Node>() == 8); // one per distinct chain of functions

/// Names and stacks of functions. A stack's parent always has a smaller number.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    pub(crate) functions: Interner<Function>,
    pub(crate) modules: Interner<str>,
    pub(crate) threads: Interner<Thread>,
    pub(crate) processes: Interner<Process>,
    pub(crate) spots: Interner<Spot>,
    module_of: Vec<u32>,  // by function
    process_of: Vec<u32>, // by thread
    nodes: Vec<Node>,     // the first one is the root
    node_ids: FxHashMap<Node, u32>,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            functions: Interner::default(),
            modules: Interner::default(),
            threads: Interner::default(),
            processes: Interner::default(),
            spots: Interner::default(),
            module_of: Vec::new(),
            process_of: Vec::new(),
            nodes: vec![Node {
                parent: ROOT,
                function: u32::MAX,
            }],
            node_ids: FxHashMap::default(),
        }
    }
}

impl Tables {
    pub(crate) fn function(&mut self, function: &Arc<Function>) -> u32 {
        let id = self.functions.share(function);
        if id as usize == self.module_of.len() {
            let module = self.modules.share(&function.module);
            self.module_of.push(module);
        }
        id
    }

    pub(crate) fn thread(&mut self, thread: Thread, process: Process) -> u32 {
        let process = Arc::new(process);
        let process_id = self.processes.share(&process);
        if self.processes.get(process_id).name != process.name {
            self.processes.renew(process_id, process);
        }
        let thread = Arc::new(thread);
        let id = self.threads.share(&thread);
        if id as usize == self.process_of.len() {
            self.process_of.push(process_id);
        } else if self.threads.get(id).name != thread.name {
            self.threads.renew(id, thread);
        }
        id
    }

    pub(crate) fn push(&mut self, parent: u32, function: u32) -> u32 {
        let node = Node { parent, function };
        let next = self.nodes.len() as u32;
        let id = *self.node_ids.entry(node).or_insert(next);
        if id == next {
            self.nodes.push(node);
        }
        id
    }

    pub(crate) fn node(&self, stack: u32) -> Node {
        self.nodes[stack as usize]
    }

    pub(crate) fn stacks(&self) -> usize {
        self.nodes.len()
    }

    /// The functions of a stack, innermost first.
    pub(crate) fn frames(&self, stack: u32) -> impl Iterator<Item = u32> + '_ {
        let mut at = stack;
        std::iter::from_fn(move || {
            (at != ROOT).then(|| {
                let node = self.node(at);
                at = node.parent;
                node.function
            })
        })
    }

    pub(crate) fn module_of(&self, function: u32) -> u32 {
        self.module_of[function as usize]
    }

    pub(crate) fn process_of(&self, thread: u32) -> u32 {
        self.process_of[thread as usize]
    }

    /// The innermost function alone: what remains of a stack whose callers are no longer kept.
    pub(crate) fn without_callers(&mut self, stack: u32) -> u32 {
        let innermost = self.node(stack).function;
        let marker = self.function(&Arc::new(Function {
            name: Arc::from("[callers dropped]"),
            module: Arc::from(""),
            kind: Kind::Missing,
        }));
        let below = self.push(ROOT, marker);
        self.push(below, innermost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prof_model::{Pid, Tid};

    #[test]
    fn a_renamed_thread_is_the_same_thread_with_its_new_name() {
        let mut tables = Tables::default();
        let thread = |name: &str| Thread {
            pid: Pid(1),
            tid: Tid(2),
            name: Arc::from(name),
        };
        let process = || Process {
            pid: Pid(1),
            name: Arc::from("sh"),
        };
        let first = tables.thread(thread("sh"), process());
        let again = tables.thread(thread("worker"), process());
        assert_eq!(first, again);
        assert_eq!(&*tables.threads.get(first).name, "worker");
        assert_eq!(tables.threads.len(), 1);
    }
}
