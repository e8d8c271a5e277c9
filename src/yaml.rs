//! YAML, read and written.
//!
//! Why a module: every use of the library is here, so that it can be changed in one place.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a text is not the YAML that was expected; with line and column where they are known.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] serde_yaml::Error);

/// Reads the one document of a text.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    Ok(serde_yaml::from_str(text)?)
}

/// Reads all documents of a text, in order.
pub fn read_all<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, Error> {
    Ok(serde_yaml::Deserializer::from_str(text).map(T::deserialize).collect::<Result<_, _>>()?)
}

/// Writes one document.
pub fn write<T: Serialize>(value: &T) -> Result<String, Error> {
    Ok(serde_yaml::to_string(value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_in_order_and_errors_name_the_line() {
        assert_eq!(read_all::<Option<u8>>("1\n---\n---\n3\n").unwrap(), [Some(1), None, Some(3)]);
        assert_eq!(read::<Vec<u8>>(&write(&[1, 2]).unwrap()).unwrap(), [1, 2]);
        assert!(read::<u8>("1\n---\n2\n").is_err());
        let error = read::<std::collections::BTreeMap<String, u8>>("a: 1\nb: x\n").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
