//! The options of a service as a JSON Schema (2020-12), so that any form that knows schemas can ask for them; and back
//! from exactly such a schema.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::definition::Definition;
use super::option::coherence::contradictions;
use super::option::{Kind, MAX_OPTIONS, OptionSpec, OptionValue, Pattern};
use crate::model::error::{Error, Result};
use crate::model::{Code, OptionName, RoleName};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Schema {
    #[serde(rename = "$schema")]
    dialect: String,
    #[serde(rename = "$id")]
    id: String,
    title: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(rename = "type")]
    kind: Object,
    properties: BTreeMap<OptionName, Property>,
    required: Vec<OptionName>,
    #[serde(rename = "additionalProperties")]
    additional: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Object {
    Object,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Property {
    #[serde(rename = "type")]
    kind: Type,
    #[serde(rename = "enum", default, skip_serializing_if = "Option::is_none")]
    choices: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<OptionValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pattern: Option<Pattern>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    minimum: Option<OptionValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    maximum: Option<OptionValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_length: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    write_only: bool,
    /// The roles that get a secret.
    #[serde(rename = "x-roles", default, skip_serializing_if = "Vec::is_empty")]
    roles: Vec<RoleName>,
    /// The place in a form, counted from 0: objects in JSON have no order.
    #[serde(rename = "x-order")]
    order: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    String,
    Integer,
    Number,
    Boolean,
}

/// The options of a service as a schema.
pub fn to_schema(definition: &Definition) -> Value {
    let properties = (0..).zip(&definition.options).map(|(order, spec)| (spec.name.clone(), to_property(spec, order)));
    let must_be_given = |spec: &&OptionSpec| spec.required && spec.default.is_none();
    let schema = Schema {
        dialect: DIALECT.to_owned(),
        id: format!("urn:deployctl:interface:{}:{}", definition.name, definition.version),
        title: definition.name.to_string(),
        description: definition.summary.clone(),
        kind: Object::Object,
        properties: properties.collect(),
        required: definition.options.iter().filter(must_be_given).map(|spec| spec.name.clone()).collect(),
        additional: false,
    };
    // Texts, numbers and lists: nothing that JSON cannot say.
    serde_json::to_value(schema).unwrap_or_default()
}

fn to_property(spec: &OptionSpec, order: u32) -> Property {
    let (kind, choices) = match &spec.kind {
        Kind::String => (Type::String, None),
        Kind::Integer => (Type::Integer, None),
        Kind::Number => (Type::Number, None),
        Kind::Boolean => (Type::Boolean, None),
        Kind::Enum(choices) => (Type::String, Some(choices.clone())),
    };
    Property {
        kind,
        choices,
        title: spec.title.clone(),
        description: spec.description.clone(),
        default: spec.default.clone(),
        pattern: spec.pattern.clone(),
        minimum: spec.minimum.clone(),
        maximum: spec.maximum.clone(),
        max_length: spec.max_length,
        write_only: spec.secret,
        roles: spec.roles.clone(),
        order,
    }
}

/// The options that a schema describes, in their order.
///
/// # Errors
/// `bad-input` for anything but what `to_schema` writes: other keywords, more than 256 options, parts that do not
/// agree with one another.
pub fn from_schema(schema: &Value) -> Result<Vec<OptionSpec>> {
    let refuse = |why: String| {
        Error::new(Code::BadInput, format!("the interface's schema cannot be used: {why}"))
            .hint("the provider may run another version of deployctl")
    };
    if schema["properties"].as_object().is_some_and(|properties| properties.len() > MAX_OPTIONS) {
        return Err(refuse(format!("it has more than {MAX_OPTIONS} options")));
    }
    let Schema { dialect, properties, required, additional, .. } =
        Schema::deserialize(schema).map_err(|why| refuse(why.to_string()))?;
    if dialect != DIALECT || additional {
        return Err(refuse("it is of another dialect, or allows options that it does not name".to_owned()));
    }
    if let Some(name) = required.iter().find(|name| !properties.contains_key(*name)) {
        return Err(refuse(format!("option “{name}” is required and not described")));
    }
    let mut options: Vec<(u32, OptionSpec)> = Vec::with_capacity(properties.len());
    for (name, property) in properties {
        let (order, required) = (property.order, required.contains(&name));
        let spec = to_spec(name, property, required).map_err(refuse)?;
        if let Some(wrong) = contradictions(&spec).first() {
            return Err(refuse(format!("option “{}”, {}: {}", spec.name, wrong.key, wrong.message)));
        }
        options.push((order, spec));
    }
    options.sort_by_key(|(order, _)| *order);
    Ok(options.into_iter().map(|(_, spec)| spec).collect())
}

fn to_spec(name: OptionName, property: Property, required: bool) -> Result<OptionSpec, String> {
    let kind = match (property.kind, property.choices) {
        (Type::String, Some(choices)) => Kind::Enum(choices),
        (_, Some(_)) => return Err(format!("option “{name}” has choices and is not text")),
        (Type::String, None) => Kind::String,
        (Type::Integer, None) => Kind::Integer,
        (Type::Number, None) => Kind::Number,
        (Type::Boolean, None) => Kind::Boolean,
    };
    Ok(OptionSpec {
        name,
        kind,
        title: property.title,
        description: property.description,
        default: property.default,
        pattern: property.pattern,
        minimum: property.minimum,
        maximum: property.maximum,
        max_length: property.max_length,
        required,
        secret: property.write_only,
        roles: property.roles,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "$schema": DIALECT,
            "$id": "urn:deployctl:interface:chat:1.2.0",
            "title": "chat",
            "description": "A chat room",
            "type": "object",
            "properties": {
                "zoo": {"type": "string", "title": "Zoo", "pattern": "^[a-z]+$", "maxLength": 9, "default": "lion", "x-order": 0},
                "age": {"type": "integer", "minimum": 0, "maximum": 9, "x-order": 1},
                "ratio": {"type": "number", "minimum": 0.5, "x-order": 2},
                "open": {"type": "boolean", "default": true, "description": "Whether", "x-order": 3},
                "size": {"type": "string", "enum": ["s", "l"], "default": "l", "x-order": 4},
                "key": {"type": "string", "writeOnly": true, "x-roles": ["host"], "x-order": 5},
            },
            "required": ["age", "key"],
            "additionalProperties": false,
        })
    }

    fn definition(options: Vec<OptionSpec>) -> Definition {
        let mut definition: Definition = serde_json::from_value(
            json!({"name": "chat", "version": "1.2.0", "summary": "A chat room", "options": [], "roles": {}}),
        )
        .unwrap();
        definition.options = options;
        definition
    }

    #[test]
    fn a_schema_reads_back_as_it_was_written_in_order() {
        let options = from_schema(&schema()).unwrap();
        assert_eq!(
            options.iter().map(|spec| &*spec.name).collect::<Vec<_>>(),
            ["zoo", "age", "ratio", "open", "size", "key"]
        );
        let again = to_schema(&definition(options.clone()));
        assert_eq!(again, schema());
        let text = serde_json::to_string(&again).unwrap();
        assert_eq!(from_schema(&serde_json::from_str(&text).unwrap()).unwrap(), options);
    }

    #[test]
    fn an_option_with_a_default_need_not_be_given() {
        let mut options = from_schema(&schema()).unwrap();
        options[0].required = true;
        assert_eq!(to_schema(&definition(options))["required"], json!(["age", "key"]));
    }

    #[test]
    fn any_other_schema_is_refused() {
        let changes: [(&str, Value); 22] = [
            ("/$schema", json!("http://json-schema.org/draft-07/schema#")),
            ("/type", json!("array")),
            ("/additionalProperties", json!(true)),
            ("/required", json!(["nothing"])),
            ("/required", json!(["Bad Name"])),
            ("/properties", json!([])),
            ("/properties/zoo", json!({"$ref": "http://127.0.0.1/x"})),
            ("/properties/zoo", json!({"type": "object", "x-order": 0})),
            ("/properties/zoo", json!({"type": ["string", "null"], "x-order": 0})),
            ("/properties/zoo", json!({"type": "string"})),
            ("/properties/zoo/default", json!("LION")),
            ("/properties/zoo/default", json!(["x"])),
            ("/properties/zoo/pattern", json!("(")),
            ("/properties/zoo/pattern", json!("a{1000}{1000}{1000}")),
            ("/properties/zoo/title", json!("x".repeat(201))),
            ("/properties/zoo/title", json!("\u{1b}[31m")),
            ("/properties/zoo/maxLength", json!(-1)),
            ("/properties/age/maximum", json!(-1)),
            ("/properties/age/x-order", json!(-1)),
            ("/properties/size/enum", json!(vec!["x"; 300])),
            ("/properties/key/x-roles", json!([])),
            ("/properties/key/x-roles", json!(["../x"])),
        ];
        for (at, value) in changes {
            let mut schema = schema();
            *schema.pointer_mut(at).unwrap() = value.clone();
            assert_eq!(from_schema(&schema).unwrap_err().code, Code::BadInput, "{at} = {value}");
        }
        for other in [json!(null), json!([]), json!({}), json!({"properties": {}})] {
            assert!(from_schema(&other).is_err());
        }
        let mut many = schema();
        many["properties"] = (0..257).map(|n| (format!("o{n}"), json!({"type": "string", "x-order": n}))).collect();
        assert!(from_schema(&many).unwrap_err().message.contains("256"));
    }
}
