//! Whether the Arrow reader can turn the schema of an IPC file or stream into its own: on what it does not know it panics, so this looks first.
//!
//! What it knows and no table holds, such as lists, passes here and is refused later, by its column's name. Unions do not pass: their numbering
//! is checked nowhere else. Nesting is bounded by the parser of the schema's bytes.

use arrow::ipc::{DateUnit, Endianness, Field, Int, IntervalUnit, Precision, Schema, TimeUnit, Type};

/// Whether all its fields are of types that the reader knows.
pub(crate) fn is_known(schema: Schema<'_>) -> bool {
    let big = schema.endianness() == Endianness::Big;
    schema.fields().is_some_and(|fields| {
        fields.iter().all(|field| field_is_known(field) && !(big && field.type_type() == Type::Decimal))
    })
}

fn field_is_known(field: Field<'_>) -> bool {
    let index = field.dictionary().map(|dictionary| dictionary.indexType().is_some_and(is_integer));
    index.unwrap_or(true) && type_is_known(field)
}

fn type_is_known(field: Field<'_>) -> bool {
    let children =
        |count: usize| field.children().is_some_and(|all| all.len() == count && all.iter().all(field_is_known));
    match field.type_type() {
        Type::Null
        | Type::Bool
        | Type::Binary
        | Type::BinaryView
        | Type::LargeBinary
        | Type::Utf8
        | Type::Utf8View
        | Type::LargeUtf8 => true,
        Type::Int => field.type_as_int().is_some_and(is_integer),
        Type::FloatingPoint => field
            .type_as_floating_point()
            .is_some_and(|float| matches!(float.precision(), Precision::HALF | Precision::SINGLE | Precision::DOUBLE)),
        Type::Decimal => field.type_as_decimal().is_some_and(|decimal| {
            matches!(decimal.bitWidth(), 32 | 64 | 128 | 256)
                && u8::try_from(decimal.precision()).is_ok()
                && i8::try_from(decimal.scale()).is_ok()
        }),
        Type::Date => {
            field.type_as_date().is_some_and(|date| matches!(date.unit(), DateUnit::DAY | DateUnit::MILLISECOND))
        }
        Type::Time => field.type_as_time().is_some_and(|time| {
            matches!(
                (time.bitWidth(), time.unit()),
                (32, TimeUnit::SECOND | TimeUnit::MILLISECOND) | (64, TimeUnit::MICROSECOND | TimeUnit::NANOSECOND)
            )
        }),
        Type::Timestamp => field.type_as_timestamp().is_some_and(|timestamp| is_unit(timestamp.unit())),
        Type::Duration => field.type_as_duration().is_some_and(|duration| is_unit(duration.unit())),
        Type::Interval => field.type_as_interval().is_some_and(|interval| {
            matches!(interval.unit(), IntervalUnit::YEAR_MONTH | IntervalUnit::DAY_TIME | IntervalUnit::MONTH_DAY_NANO)
        }),
        Type::FixedSizeBinary => field.type_as_fixed_size_binary().is_some_and(|binary| binary.byteWidth() >= 0),
        Type::List | Type::LargeList | Type::ListView | Type::LargeListView => children(1),
        Type::FixedSizeList => field.type_as_fixed_size_list().is_some_and(|list| list.listSize() >= 0) && children(1),
        Type::Map => field.type_as_map().is_some() && children(1),
        Type::Struct_ => field.children().is_none_or(|all| all.iter().all(field_is_known)),
        Type::RunEndEncoded => {
            let ends = field.children().filter(|all| !all.is_empty()).and_then(|all| all.get(0).type_as_int());
            children(2) && ends.is_some_and(|ends| ends.is_signed() && matches!(ends.bitWidth(), 16 | 32 | 64))
        }
        _ => false,
    }
}

fn is_integer(int: Int<'_>) -> bool {
    matches!(int.bitWidth(), 8 | 16 | 32 | 64)
}

fn is_unit(unit: TimeUnit) -> bool {
    matches!(unit, TimeUnit::SECOND | TimeUnit::MILLISECOND | TimeUnit::MICROSECOND | TimeUnit::NANOSECOND)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use arrow::{
        datatypes::{DataType, Field, Fields, IntervalUnit, Schema, TimeUnit},
        ipc::{convert::IpcSchemaEncoder, root_as_schema, writer::DictionaryTracker},
    };

    use super::*;

    fn encoded(data_type: &DataType) -> Vec<u8> {
        let schema = Schema::new(vec![Field::new("column", data_type.clone(), true)]);
        let mut dictionaries = DictionaryTracker::new(true);
        let mut encoder = IpcSchemaEncoder::new().with_dictionary_tracker(&mut dictionaries);
        encoder.schema_to_fb(&schema).finished_data().to_vec()
    }

    #[test]
    fn what_the_reader_knows_passes_and_nothing_on_which_it_panics() {
        let item = |data_type: DataType| Arc::new(Field::new("item", data_type, true));
        let types = [
            DataType::Null,
            DataType::Int8,
            DataType::UInt64,
            DataType::Float16,
            DataType::Decimal256(50, -3),
            DataType::Date64,
            DataType::Time64(TimeUnit::Nanosecond),
            DataType::Timestamp(TimeUnit::Second, Some("UTC".into())),
            DataType::Interval(IntervalUnit::MonthDayNano),
            DataType::Utf8View,
            DataType::FixedSizeBinary(3),
            DataType::List(item(DataType::Int32)),
            DataType::FixedSizeList(item(DataType::Boolean), 2),
            DataType::Struct(Fields::from(vec![Field::new("part", DataType::Float64, true)])),
            DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::Utf8)),
            DataType::RunEndEncoded(item(DataType::Int32), item(DataType::Utf8)),
        ];
        for data_type in types {
            let bytes = encoded(&data_type);
            assert!(is_known(root_as_schema(&bytes).unwrap()), "{data_type}");
            // Whatever a changed byte makes of it: what passes, the reader reads.
            for at in 0..bytes.len() {
                for value in [0, 1, 0x20, 0x7f, 0xff, bytes[at] ^ 4] {
                    let mut changed = bytes.clone();
                    changed[at] = value;
                    if let Some(schema) = root_as_schema(&changed).ok().filter(|schema| is_known(*schema)) {
                        let read = std::panic::catch_unwind(|| arrow::ipc::convert::fb_to_schema(schema));
                        assert!(read.is_ok(), "{data_type}, byte {at} as {value:#x}");
                    }
                }
            }
        }
    }
}
