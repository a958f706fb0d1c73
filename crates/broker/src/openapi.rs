//! The description of the API (OpenAPI 3.1), generated from the code.

/// The document, as JSON.
pub fn document() -> String {
    String::new()
}
