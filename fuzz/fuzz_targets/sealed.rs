//! Sealed Parquet files from a hostile owner.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    use std::io::Cursor;
    let file = envelope::keys::FileId { dataset: "d".into(), version: 1, index: 0 };
    let key = envelope::keys::TableKey::from_bytes([7; 32]);
    let contents = table::Contents::of(&mut Cursor::new(bytes));
    if let Ok(contents) = contents {
        let _ = table::Sealed::check(&mut Cursor::new(bytes), &contents, &file, &key.footer(&file));
    }
});
