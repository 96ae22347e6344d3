//! Calls of actions and their answers (UPnP Device Architecture 2.0 §3): texts in, texts out.

use super::service::{Action, Argument, Data, Service};
use super::xml::{self, DECLARATION, escape, leaf};

const ENVELOPE: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const ENCODING: &str = "http://schemas.xmlsoap.org/soap/encoding/";
/// The longest argument, in bytes. A query with a device's description is the longest that anyone sends.
const MAX_ARGUMENT: usize = 8 << 10;

/// An action that somebody calls, its arguments in the order of the service's table and fit for their variables.
#[derive(Debug)]
pub struct Call {
    pub action: &'static Action,
    values: Vec<String>,
}

/// Why a call gets no answer but a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub code: u16,
    pub description: String,
}

/// A request that is no call at all: HTTP 400, with a few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    NoCall(&'static str),
    Fault(Fault),
}

impl Fault {
    pub fn new(code: u16, description: impl Into<String>) -> Self {
        Self { code, description: description.into() }
    }
    pub fn no_such_action() -> Self {
        Self::new(401, "Invalid Action")
    }
    pub fn arguments(why: impl std::fmt::Display) -> Self {
        Self::new(402, format!("Invalid Args: {why}"))
    }
    /// What goes into an HTTP 500.
    pub fn write(&self) -> String {
        let mut text = begin();
        text.push_str("<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>");
        text.push_str("<UPnPError xmlns=\"urn:schemas-upnp-org:control-1-0\">");
        leaf(&mut text, "errorCode", &self.code.to_string());
        leaf(&mut text, "errorDescription", &self.description);
        text.push_str("</UPnPError></detail></s:Fault></s:Body></s:Envelope>\n");
        text
    }
}

impl Call {
    /// Reads a call of an action of `service`. `soap_action` is the value of the header.
    ///
    /// # Errors
    /// [`Refused::NoCall`] for what is no SOAP; a fault 401 for another action or service, 402 for wrong arguments, 600
    /// for a value that is none of those allowed.
    pub fn read(service: &Service, soap_action: &str, body: &[u8]) -> Result<Self, Refused> {
        let envelope = xml::read(body).map_err(Refused::NoCall)?;
        if envelope.name != "Envelope" || envelope.namespace != ENVELOPE {
            return Err(Refused::NoCall("it is no SOAP envelope"));
        }
        let in_soap = |child: &&xml::Element| child.namespace == ENVELOPE && child.name == "Body";
        let body = envelope.children.into_iter().find(|child| in_soap(&child));
        let mut calls = body.map(|body| body.children).unwrap_or_default();
        let (Some(called), true) = (calls.pop(), calls.is_empty()) else {
            return Err(Refused::NoCall("its body has not exactly one element"));
        };
        let named = soap_action.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let (kind, name) =
            named.and_then(|named| named.split_once('#')).ok_or(Refused::NoCall("SOAPACTION is none"))?;
        if kind != service.kind || called.namespace != kind || called.name != name {
            return Err(Refused::Fault(Fault::no_such_action()));
        }
        let action = service.action(name).ok_or_else(|| Refused::Fault(Fault::no_such_action()))?;
        let given = called.children.iter().map(|child| (child.name.as_str(), child.text.as_str())).collect();
        let values = fit(service, action, given).map_err(Refused::Fault)?;
        Ok(Self { action, values })
    }
    /// The value of an argument of this action; empty for any other.
    pub fn text(&self, name: &str) -> &str {
        let at = self.action.inputs.iter().position(|(known, _)| *known == name);
        at.map_or("", |at| &self.values[at])
    }
    /// The value of an argument that is a number.
    pub fn number(&self, name: &str) -> u32 {
        self.text(name).parse().unwrap_or(0)
    }
    /// The answer: `values` in the order of the table's outputs.
    pub fn answer(&self, service: &Service, values: &[String]) -> String {
        let name = self.action.name;
        let mut text = begin();
        text.push_str(&format!("<u:{name}Response xmlns:u=\"{}\">", escape(service.kind)));
        debug_assert_eq!(values.len(), self.action.outputs.len());
        for ((argument, _), value) in self.action.outputs.iter().zip(values) {
            leaf(&mut text, argument, value);
        }
        text.push_str(&format!("</u:{name}Response></s:Body></s:Envelope>\n"));
        text
    }
}

fn begin() -> String {
    format!("{DECLARATION}<s:Envelope xmlns:s=\"{ENVELOPE}\" s:encodingStyle=\"{ENCODING}\"><s:Body>")
}

/// The values in the order of the table, each there once and of its type.
fn fit(service: &Service, action: &Action, mut given: Vec<(&str, &str)>) -> Result<Vec<String>, Fault> {
    let mut values = Vec::with_capacity(action.inputs.len());
    for (name, variable) in action.inputs {
        let at = given.iter().position(|(known, _)| known == name);
        let (_, value) = given.remove(at.ok_or_else(|| Fault::arguments(format!("{name} is missing")))?);
        values.push(fit_one(service, (name, variable), value)?);
    }
    match given.first() {
        Some((name, _)) => Err(Fault::arguments(format!("{} is none, or is there twice", cut(name)))),
        None => Ok(values),
    }
}

fn fit_one(service: &Service, (name, variable): Argument, value: &str) -> Result<String, Fault> {
    if value.len() > MAX_ARGUMENT {
        return Err(Fault::new(605, format!("String Argument Too Long: {name}")));
    }
    let data = service.variable(variable).map_or(Data::Text, |variable| variable.data);
    let ill_typed = || Fault::arguments(format!("{name} is not of type {}", data.name()));
    let trimmed = value.trim();
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match data {
        Data::Text => Ok(value.to_owned()),
        Data::OneOf(words) if words.contains(&trimmed) => Ok(trimmed.to_owned()),
        Data::OneOf(_) => Err(Fault::new(600, format!("Argument Value Invalid: {name}"))),
        Data::Number if is_digits(trimmed) => Ok(trimmed.parse::<u32>().map_err(|_| ill_typed())?.to_string()),
        Data::Signed if is_digits(trimmed.strip_prefix('-').unwrap_or(trimmed)) => {
            Ok(trimmed.parse::<i32>().map_err(|_| ill_typed())?.to_string())
        }
        Data::Number | Data::Signed => Err(ill_typed()),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests;
