//! The part of the pickle language that a file of tensors needs.
//!
//! Objects lie in one list and refer to each other by index, so that neither a cycle nor deep
//! nesting can do harm when they go away, and a long text is there once, whoever refers to it. How
//! many there are is bounded: what a pickle makes takes no more than a small multiple of its bytes.

use std::collections::BTreeMap;

use safetensors::tensor::Dtype;

/// Index of an object.
pub(super) type Id = usize;

/// What a pickle made.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Object {
    None,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dictionary(Vec<(Id, Id)>),
    /// `collections.OrderedDict`, to be called.
    OrderedDictionary,
    /// `torch._utils._rebuild_tensor_v2`, to be called.
    RebuildTensor,
    /// `torch.FloatStorage` and its like.
    StorageType(Dtype),
    Storage(Storage),
    Tensor(Tensor),
}

/// Elements of one type, in an entry of the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Storage {
    pub dtype: Dtype,
    /// The text of KEY in the entry `data/KEY`.
    pub key: Id,
    pub element_count: u64,
}

/// A view of a storage.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tensor {
    /// The storage.
    pub storage: Id,
    /// Its first element there.
    pub offset: u64,
    pub shape: Vec<u64>,
    /// Elements between neighbours along each dimension.
    pub strides: Vec<u64>,
}

/// Most objects of a pickle: 20 are a tensor, and the released 7B model has under 500 of those.
const MAX_OBJECT_COUNT: usize = 1 << 20;

/// The longest name of a storage; torch counts them.
const MAX_KEY_BYTES: usize = 64;

/// Most dimensions of a tensor.
const MAX_RANK: usize = 8;

/// Everything that was made, and which of it is the result.
#[derive(Debug)]
pub(super) struct Pickled {
    objects: Vec<Object>,
    pub root: Id,
}

impl Pickled {
    pub fn get(&self, id: Id) -> &Object {
        &self.objects[id]
    }

    /// A storage and its key.
    pub fn storage(&self, id: Id) -> (&Storage, &str) {
        let Object::Storage(storage) = self.get(id) else { unreachable!("tensors have storages") };
        let Object::Text(key) = self.get(storage.key) else { unreachable!("keys are texts") };
        (storage, key)
    }

    /// The value of a key of a dictionary.
    pub fn value(&self, dictionary: Id, key: &str) -> Option<Id> {
        let Object::Dictionary(items) = self.get(dictionary) else { return None };
        let is_key = |id: Id| matches!(self.get(id), Object::Text(text) if text == key);
        items.iter().rev().find(|(id, _)| is_key(*id)).map(|(_, value)| *value)
    }
}

/// Runs a pickle.
///
/// # Errors
///
/// A sentence: it is cut off, contradicts itself, or asks for something that is no tensor.
pub(super) fn unpickle(bytes: &[u8]) -> Result<Pickled, String> {
    let machine = Machine {
        input: bytes,
        at: 0,
        objects: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: BTreeMap::new(),
    };
    machine.run()
}

struct Machine<'a> {
    input: &'a [u8],
    at: usize,
    objects: Vec<Object>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: BTreeMap<u64, Id>,
}

impl Machine<'_> {
    fn run(mut self) -> Result<Pickled, String> {
        loop {
            let opcode = self.take::<1>()?[0];
            if opcode == b'.' {
                let root = self.pop()?;
                return Ok(Pickled { objects: self.objects, root });
            }
            self.step(opcode)?;
            if self.objects.len() > MAX_OBJECT_COUNT {
                return Err(format!("a file of tensors may have {MAX_OBJECT_COUNT} objects"));
            }
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), String> {
        match opcode {
            // PROTO, FRAME: how it is written, not what.
            0x80 => {
                let version = self.take::<1>()?[0];
                if !(2..=5).contains(&version) {
                    return Err(format!("expected a pickle of protocol 2 to 5, got {version}"));
                }
            }
            0x95 => _ = self.take::<8>()?,
            b'N' => self.push(Object::None),
            0x88 => self.push(Object::Bool(true)),
            0x89 => self.push(Object::Bool(false)),
            b'J' => {
                let number = i32::from_le_bytes(self.take()?);
                self.push(Object::Integer(number.into()));
            }
            b'K' => {
                let [number] = self.take()?;
                self.push(Object::Integer(number.into()));
            }
            b'M' => {
                let number = u16::from_le_bytes(self.take()?);
                self.push(Object::Integer(number.into()));
            }
            0x8a => self.long()?,
            b'G' => {
                let number = f64::from_be_bytes(self.take()?);
                self.push(Object::Float(number));
            }
            b'X' => {
                let length = u32::from_le_bytes(self.take()?);
                self.text(length as usize)?;
            }
            0x8c => {
                let [length] = self.take()?;
                self.text(length.into())?;
            }
            b')' => self.push(Object::Tuple(Vec::new())),
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let items = self.pop_many(count)?;
                self.push(Object::Tuple(items));
            }
            b'(' => self.marks.push(self.stack.len()),
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Object::Tuple(items));
            }
            b']' => self.push(Object::List(Vec::new())),
            b'a' => {
                let item = self.pop()?;
                self.list()?.push(item);
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.list()?.extend(items);
            }
            b'}' => self.push(Object::Dictionary(Vec::new())),
            b's' => {
                let items = self.pop_many(2)?;
                self.set_items(&items)?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(&items)?;
            }
            b'q' => {
                let [index] = self.take()?;
                self.remember(index.into())?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.take()?);
                self.remember(index.into())?;
            }
            0x94 => self.remember(self.memo.len() as u64)?,
            b'h' => {
                let [index] = self.take()?;
                self.recall(index.into())?;
            }
            b'j' => {
                let index = u32::from_le_bytes(self.take()?);
                self.recall(index.into())?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                let object = global(&module, &name)?;
                self.push(object);
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let object = match (&self.objects[module], &self.objects[name]) {
                    (Object::Text(module), Object::Text(name)) => global(module, name)?,
                    _ => return Err("a name in it is no text".into()),
                };
                self.push(object);
            }
            b'Q' => self.storage()?,
            b'R' => self.call()?,
            b'b' => self.build()?,
            other => return Err(format!("opcode {other:#04x} has no place in a file of tensors")),
        }
        Ok(())
    }

    /// `('storage', type, key, device, element count)` becomes a storage.
    fn storage(&mut self) -> Result<(), String> {
        let id = self.pop()?;
        let wrong = || "a persistent id that is no storage".to_owned();
        let Object::Tuple(items) = &self.objects[id] else { return Err(wrong()) };
        let [kind, dtype, key, _device, count] = items[..] else { return Err(wrong()) };
        let get = |id: Id| &self.objects[id];
        let storage = match (get(kind), get(dtype), get(key), self.count(count)) {
            (Object::Text(kind), Object::StorageType(dtype), Object::Text(text), Some(count))
                if kind == "storage" && text.len() <= MAX_KEY_BYTES =>
            {
                Storage { dtype: *dtype, key, element_count: count }
            }
            _ => return Err(wrong()),
        };
        self.push(Object::Storage(storage));
        Ok(())
    }

    /// A call of one of the two things that can be called.
    fn call(&mut self) -> Result<(), String> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Object::Tuple(arguments) = &self.objects[arguments] else {
            return Err("a call without a tuple of arguments".into());
        };
        let made = match &self.objects[function] {
            Object::OrderedDictionary if arguments.is_empty() => Object::Dictionary(Vec::new()),
            Object::OrderedDictionary => {
                return Err("collections.OrderedDict is called with arguments".into());
            }
            Object::RebuildTensor => Object::Tensor(self.tensor(arguments)?),
            _ => return Err("it calls something that is no function".into()),
        };
        self.push(made);
        Ok(())
    }

    /// `(storage, offset, shape, strides, requires_grad, hooks, ..)` becomes a tensor.
    fn tensor(&self, arguments: &[Id]) -> Result<Tensor, String> {
        let wrong = || "torch._utils._rebuild_tensor_v2 with arguments that are none".to_owned();
        let [storage, offset, shape, strides, ..] = *arguments else { return Err(wrong()) };
        let Object::Storage(_) = &self.objects[storage] else { return Err(wrong()) };
        let counts = |id: Id| match &self.objects[id] {
            Object::Tuple(items) if items.len() <= MAX_RANK => {
                items.iter().map(|id| self.count(*id)).collect()
            }
            _ => None,
        };
        let (offset, shape, strides): (_, Option<Vec<_>>, Option<Vec<_>>) =
            (self.count(offset), counts(shape), counts(strides));
        match (offset, shape, strides) {
            (Some(offset), Some(shape), Some(strides)) if shape.len() == strides.len() => {
                Ok(Tensor { storage, offset, shape, strides })
            }
            _ => Err(wrong()),
        }
    }

    /// Attributes of an ordered dictionary (`_metadata` of a state dict) say nothing about tensors.
    fn build(&mut self) -> Result<(), String> {
        let state = self.pop()?;
        let target = self.top()?;
        match (&self.objects[state], &self.objects[target]) {
            (Object::Dictionary(_), Object::Dictionary(_)) => Ok(()),
            _ => Err("it sets the state of an object that is no dictionary".into()),
        }
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), String> {
        let (pairs, rest) = items.as_chunks::<2>();
        let target = self.top()?;
        match &mut self.objects[target] {
            Object::Dictionary(known) if rest.is_empty() => {
                known.extend(pairs.iter().map(|[key, value]| (*key, *value)));
                Ok(())
            }
            _ => Err("it puts items into something that is no dictionary".into()),
        }
    }

    fn list(&mut self) -> Result<&mut Vec<Id>, String> {
        let target = self.top()?;
        match &mut self.objects[target] {
            Object::List(items) => Ok(items),
            _ => Err("it appends to something that is no list".into()),
        }
    }

    /// A number of at most eight bytes.
    fn long(&mut self) -> Result<(), String> {
        let length = usize::from(self.take::<1>()?[0]);
        let bytes = self.slice(length)?;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        if length > wide.len() {
            return Err(format!("a number of {length} bytes"));
        }
        wide[..length].copy_from_slice(bytes);
        self.push(Object::Integer(i64::from_le_bytes(wide)));
        Ok(())
    }

    fn text(&mut self, length: usize) -> Result<(), String> {
        let text = str::from_utf8(self.slice(length)?).map_err(|_| "a text that is no UTF-8")?;
        let text = text.to_owned();
        self.push(Object::Text(text));
        Ok(())
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.input[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or(CUT_OFF)?;
        let line = str::from_utf8(&rest[..length]).map_err(|_| "a name that is no UTF-8")?;
        self.at += length + 1;
        Ok(line.to_owned())
    }

    fn count(&self, id: Id) -> Option<u64> {
        match self.objects[id] {
            Object::Integer(number) => u64::try_from(number).ok(),
            _ => None,
        }
    }

    fn remember(&mut self, index: u64) -> Result<(), String> {
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, index: u64) -> Result<(), String> {
        let id = *self.memo.get(&index).ok_or("it recalls something that it never made")?;
        self.stack.push(id);
        Ok(())
    }

    fn push(&mut self, object: Object) {
        self.stack.push(self.objects.len());
        self.objects.push(object);
    }

    fn top(&self) -> Result<Id, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = self.stack.len().checked_sub(1).filter(|at| *at >= floor);
        Ok(self.stack[top.ok_or(TOO_FEW)?])
    }

    fn pop(&mut self) -> Result<Id, String> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let first = self.stack.len().checked_sub(count).filter(|at| *at >= floor);
        Ok(self.stack.split_off(first.ok_or(TOO_FEW)?))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or(TOO_FEW)?;
        Ok(self.stack.split_off(mark))
    }

    fn take<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], String> {
        let bytes = *self.input[self.at..].first_chunk().ok_or(CUT_OFF)?;
        self.at += COUNT;
        Ok(bytes)
    }

    fn slice(&mut self, length: usize) -> Result<&[u8], String> {
        let bytes = self.input[self.at..].get(..length).ok_or(CUT_OFF)?;
        self.at += length;
        Ok(bytes)
    }
}

/// A global name. Only names of things that build tensors are known.
fn global(module: &str, name: &str) -> Result<Object, String> {
    let storage = match name {
        "FloatStorage" => Some(Dtype::F32),
        "HalfStorage" => Some(Dtype::F16),
        "BFloat16Storage" => Some(Dtype::BF16),
        "DoubleStorage" => Some(Dtype::F64),
        "LongStorage" => Some(Dtype::I64),
        "IntStorage" => Some(Dtype::I32),
        "ShortStorage" => Some(Dtype::I16),
        "CharStorage" => Some(Dtype::I8),
        "ByteStorage" => Some(Dtype::U8),
        "BoolStorage" => Some(Dtype::BOOL),
        _ => None,
    };
    match (module, name, storage) {
        ("collections", "OrderedDict", _) => Ok(Object::OrderedDictionary),
        ("torch._utils", "_rebuild_tensor_v2", _) => Ok(Object::RebuildTensor),
        ("torch", _, Some(dtype)) => Ok(Object::StorageType(dtype)),
        _ => Err(format!(
            "it asks for {module}.{name}, and a file of weights may build tensors and nothing else"
        )),
    }
}

const CUT_OFF: &str = "the pickle is cut off";
const TOO_FEW: &str = "the pickle takes more from its stack than there is";
