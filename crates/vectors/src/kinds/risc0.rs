//! Cases of the kind `risc0`: the parameters are the case's own.

use attest::{
    platform::Register,
    risc0::{self, Parameters, Receipt, VerifyingKey},
};
use serde_json::Value;

use super::Stop;
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, Stop> {
    let stated: Value = serde_json::from_slice(&case.need("params")?).map_err(|error| error.to_string())?;
    let text = |name: &str| stated.get(name).and_then(Value::as_str).ok_or_else(|| format!("no `{name}`"));
    let bytes = |name: &str| -> Result<[u8; 32], String> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text(name)?, &mut bytes).map_err(|error| format!("`{name}`: {error}"))?;
        Ok(bytes)
    };
    let receipt = Receipt { seal: case.need("seal")?, journal: case.need("journal")?, image_id: bytes("image_id")? };
    let parameters =
        key(&stated).and_then(|key| Ok(Parameters::new(bytes("control_root")?, bytes("bn254_control_id_be")?, key)))?;
    let parameters = match parameters {
        Ok(parameters) => parameters,
        Err(error) => return Ok(Report::refused(&error)),
    };
    if hex::encode(parameters.selector()) != text("selector")? {
        return Err("the parameters do not have the selector that the case states".into());
    }
    match risc0::examine(&receipt, &[parameters], case.now()) {
        Ok(genuine) => {
            let journal = Register { name: "journal".to_owned(), value: receipt.journal.clone() };
            Ok(Report::genuine(&genuine).with_values([journal]))
        }
        Err(error) => Ok(Report::refused(&error)),
    }
}

fn key(stated: &Value) -> Result<VerifyingKey, String> {
    let number = |name: &str| {
        let text = stated.pointer(&format!("/groth16_vk/{name}")).and_then(Value::as_str);
        text.and_then(decimal).ok_or_else(|| format!("no number `{name}`"))
    };
    let second = |name: &str| -> Result<[[u8; 32]; 4], String> {
        let part = |part: &str| number(&format!("{name}{part}"));
        Ok([part("x1")?, part("x2")?, part("y1")?, part("y2")?])
    };
    let mut inputs = [[[0; 32]; 2]; 6];
    for (index, input) in inputs.iter_mut().enumerate() {
        *input = [number(&format!("IC{index}x"))?, number(&format!("IC{index}y"))?];
    }
    let alpha = [number("alphax")?, number("alphay")?];
    let others = [second("beta")?, second("gamma")?, second("delta")?];
    VerifyingKey::new(alpha, others, inputs).map_err(|error| error.to_string())
}

/// A decimal number in 32 big-endian bytes.
fn decimal(text: &str) -> Option<[u8; 32]> {
    let mut number = [0_u8; 32];
    for character in text.chars() {
        let mut carry = character.to_digit(10)?;
        for byte in number.iter_mut().rev() {
            let value = u32::from(*byte) * 10 + carry;
            *byte = u8::try_from(value & 0xFF).ok()?;
            carry = value >> 8;
        }
        if carry != 0 {
            return None;
        }
    }
    Some(number)
}
