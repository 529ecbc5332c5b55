//! The tensors of a file of `torch.save`, and where they lie.

use std::collections::BTreeMap;
use std::ops::Range;

use safetensors::tensor::Dtype;

use super::pickle::{Id, Object, Pickled, Storage, Tensor, unpickle};
use super::zip::stored_entries;

/// The longest pickle that is read; that of the released 7B model has under a thousandth.
const MAX_PICKLE_BYTES: usize = 16 << 20;

/// A tensor whose elements lie row by row.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct StoredTensor {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Its bytes in the file.
    pub range: Range<usize>,
}

/// The tensors of a state dict, or of the one under the key `model` (spec §17).
///
/// # Errors
///
/// A sentence on what is wrong with the file.
pub(in super::super) fn state_dict(file: &[u8]) -> Result<BTreeMap<String, StoredTensor>, String> {
    let entries = stored_entries(file)?;
    let mut pickles = entries.iter().filter(|(name, _)| is_pickle(name));
    let (Some((name, range)), None) = (pickles.next(), pickles.next()) else {
        return Err("expected one entry data.pkl in the zip, as torch.save writes".into());
    };
    if range.len() > MAX_PICKLE_BYTES {
        return Err(format!("data.pkl may have {MAX_PICKLE_BYTES} bytes, got {}", range.len()));
    }
    let folder = name.strip_suffix("data.pkl").expect("it was found by this name");
    let order = entries.get(&format!("{folder}byteorder")).map(|range| &file[range.clone()]);
    if order.is_some_and(|order| order != b"little") {
        return Err("its numbers are not little-endian".into());
    }
    let pickled = unpickle(&file[range.clone()])?;
    let dictionary = pickled.value(pickled.root, "model").unwrap_or(pickled.root);
    let mut tensors = BTreeMap::new();
    for (name, tensor) in named_tensors(&pickled, dictionary)? {
        let (storage, key) = pickled.storage(tensor.storage);
        let bytes = entries.get(&format!("{folder}data/{key}"));
        let bytes = bytes.ok_or_else(|| format!("{name}: the entry data/{key} is missing"))?;
        let stored =
            place(tensor, storage, bytes).map_err(|problem| format!("{name}: {problem}"))?;
        if tensors.insert(name.to_owned(), stored).is_some() {
            return Err(format!("the tensor {name} is there twice"));
        }
    }
    Ok(tensors)
}

fn is_pickle(name: &str) -> bool {
    name == "data.pkl" || name.ends_with("/data.pkl")
}

fn named_tensors(pickled: &Pickled, dictionary: Id) -> Result<Vec<(&str, &Tensor)>, String> {
    let Object::Dictionary(items) = pickled.get(dictionary) else {
        return Err("expected a dictionary of tensors".into());
    };
    let named = |(key, value): &(Id, Id)| match (pickled.get(*key), pickled.get(*value)) {
        (Object::Text(name), Object::Tensor(tensor)) => Ok((name.as_str(), tensor)),
        (Object::Text(name), _) => Err(format!("{name} is no tensor")),
        _ => Err("a name of a tensor that is no text".into()),
    };
    items.iter().map(named).collect()
}

/// Where the elements of a tensor lie in the file, of which its storage is a range.
fn place(tensor: &Tensor, storage: &Storage, bytes: &Range<usize>) -> Result<StoredTensor, String> {
    let Tensor { offset, shape, strides, .. } = tensor;
    let size = storage.dtype.bitsize() as u64 / 8;
    let fits = storage.element_count.checked_mul(size);
    if fits.is_none_or(|needed| needed > bytes.len() as u64) {
        return Err(format!(
            "{} elements of {size} bytes are more than the {} bytes of their storage",
            storage.element_count,
            bytes.len(),
        ));
    }
    let too_large = || "its shape has more elements than can be counted".to_owned();
    // In both orders: a length of zero must not hide what overflows on its other side.
    shape.iter().try_fold(1u64, |all, it| all.checked_mul(*it)).ok_or_else(too_large)?;
    let mut count = 1u64;
    for (length, stride) in shape.iter().zip(strides).rev() {
        if *length > 1 && *stride != count {
            return Err(format!(
                "shape {shape:?} with strides {strides:?}: expected elements row by row; save \
                 `tensor.contiguous()`"
            ));
        }
        count = count.checked_mul(*length).ok_or_else(too_large)?;
    }
    let end = offset.checked_add(count).ok_or_else(too_large)?;
    if end > storage.element_count {
        return Err(format!(
            "elements {offset} to {end} leave a storage of {}",
            storage.element_count
        ));
    }
    let inside = "it is no more than the length of the file";
    let at = |elements: u64| bytes.start + usize::try_from(elements * size).expect(inside);
    let shape = shape.iter().map(|length| usize::try_from(*length).map_err(|_| too_large()));
    let shape = shape.collect::<Result<_, _>>()?;
    Ok(StoredTensor { dtype: storage.dtype, shape, range: at(*offset)..at(end) })
}
