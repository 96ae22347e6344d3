//! Finding who offers a program (rows B4, B20): contacts are asked, those whose software may be installed here and those
//! that were seen; of strangers nothing is known but what they list.

use std::sync::Arc;

use super::ask::Wanted;
use super::query::listed;
use crate::discover::seeing::Seen;
use crate::model::{Address, Error, Result};
use crate::roles::node::Node;
use crate::service::query::{Match, Query};
use crate::store::contacts::Contact;
use crate::store::programs::ProgramId;
use crate::store::rights::Right;

/// Somebody who offers a program that is wanted.
#[derive(Clone, Debug)]
pub struct Offerer {
    pub at: Address,
    pub rank: Rank,
    /// As this node calls it, else as it calls itself.
    pub name: String,
    pub program: Match,
}

/// How well somebody is known, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    Stranger,
    Contact,
    /// A contact whose software may be installed here.
    Provider,
}

/// All who were asked or seen.
#[derive(Debug, Default)]
pub struct Market {
    pub offers: Vec<Offerer>,
    /// Who is no contact, and by what name and address it was seen.
    pub strangers: Vec<(String, Address)>,
    /// Contacts that did not answer, and why.
    pub silent: Vec<(String, Error)>,
}

impl Node {
    /// Asks every contact whose software may be installed here and every contact that was seen, and reads what the
    /// strangers among those list.
    ///
    /// # Errors
    /// `io`, `damaged`.
    pub async fn who_offers(self: &Arc<Self>, query: &Query, seen: Vec<Seen>) -> Result<Market> {
        let mut market = Market::default();
        let mut asked: Vec<(Contact, Address)> = self.contacts.list()?.into_iter().filter_map(provider).collect();
        for seen in seen.into_iter().filter(|seen| seen.key != self.key()) {
            let at = Address { key: seen.key, host: seen.hosts.into_iter().next() };
            match self.contacts.by_key(&seen.key, self.system.now())? {
                Some(contact) if asked.iter().any(|(known, _)| known.name == contact.name) => {}
                Some(contact) => asked.push((contact, at)),
                None => {
                    let name = seen.name.to_string();
                    let answer = self
                        .wanted_of(query.answer(listed(seen.programs.unwrap_or_default(), seen.key)), &query.device);
                    market.enter(&name, &at, Rank::Stranger, answer.programs);
                    market.strangers.push((name, at));
                }
            }
        }
        let addresses: Vec<_> = asked.iter().map(|(_, at)| at.clone()).collect();
        let answers = self.ask_each(&addresses, query).await;
        for ((contact, at), answer) in asked.into_iter().zip(answers) {
            let rank = if contact.may.may(Right::Provide) { Rank::Provider } else { Rank::Contact };
            match answer {
                Ok(answer) => market.enter(&contact.name, &at, rank, self.wanted_of(answer, &query.device).programs),
                Err(why) => market.silent.push((contact.name.to_string(), why)),
            }
        }
        Ok(market)
    }

    /// Asks the one node that a person named.
    ///
    /// # Errors
    /// As [`Node::ask_which_programs`].
    pub async fn what_offers(&self, at: &Address, query: &Query) -> Result<Market> {
        let answer = self.ask_which_programs(at, query).await?;
        let mut market = Market::default();
        let name = self.calls(&at.key).unwrap_or_else(|| at.named());
        market.enter(&name, at, Rank::Contact, self.wanted_of(answer, &query.device).programs);
        Ok(market)
    }

    /// The one contact whose software may be installed here, where there is but one.
    ///
    /// # Errors
    /// `io`, `damaged`.
    pub fn only_provider(&self) -> Result<Option<Address>> {
        let mut providers: Vec<_> = self.contacts.list()?.into_iter().filter_map(provider).collect();
        Ok(providers.pop().filter(|_| providers.is_empty()).map(|(_, at)| at))
    }
}

fn provider(contact: Contact) -> Option<(Contact, Address)> {
    let at = contact.address.clone();
    (contact.may.may(Right::Provide) && at.host.is_some()).then_some((contact, at))
}

impl Market {
    fn enter(&mut self, name: &str, at: &Address, rank: Rank, programs: Vec<Match>) {
        let offer = |program| Offerer { at: at.clone(), rank, name: name.to_owned(), program };
        self.offers.extend(programs.into_iter().map(offer));
    }
    /// Only programs of this name, and signer and version where those are named.
    #[must_use]
    pub fn of(mut self, wanted: &Wanted) -> Self {
        self.offers.retain(|Offerer { program, .. }| {
            let listed = &program.listed;
            listed.name == wanted.name
                && wanted.signer.is_none_or(|signer| signer == listed.signer)
                && wanted.version.as_ref().is_none_or(|range| range.matches(&listed.version))
        });
        self
    }
    /// What can be taken: of those who are known best, for each program the one with the latest version; of equal
    /// versions the signer's own.
    pub fn choices(&self) -> Vec<&Offerer> {
        let best = self.offers.iter().map(|one| one.rank).max();
        let mut choices: Vec<_> = self.offers.iter().filter(|one| Some(one.rank) == best).collect();
        choices.sort_by(|one, other| {
            let key = |one: &Offerer| (one.program.listed.version.clone(), one.at.key == one.program.listed.signer);
            one.id().cmp(&other.id()).then_with(|| key(other).cmp(&key(one))).then_with(|| one.name.cmp(&other.name))
        });
        choices.dedup_by_key(|one| one.id());
        choices
    }
}

impl Offerer {
    pub fn id(&self) -> ProgramId {
        ProgramId { signer: self.program.listed.signer, name: self.program.listed.name.clone() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Key;

    fn offer(n: u8, rank: Rank, name: &str, signer: u8, version: &str) -> Offerer {
        let program = json!({"name": name, "version": version, "summary": "", "signer": Key::from_bytes([signer; 32]),
            "platform": "linux-x86_64", "runs": "native"});
        let at = Address { key: Key::from_bytes([n; 32]), host: None };
        Offerer { at, rank, name: format!("n{n}"), program: serde_json::from_value(program).unwrap() }
    }
    fn chosen(offers: Vec<Offerer>) -> Vec<String> {
        let market = Market { offers, ..Market::default() };
        market.choices().iter().map(|one| format!("{} {}", one.name, one.program.listed.version)).collect()
    }

    #[test]
    fn the_best_version_of_those_known_best_is_taken_and_of_equal_ones_the_signers_own() {
        use Rank::{Contact, Provider, Stranger};
        let all = vec![
            offer(1, Stranger, "chess", 9, "9.0.0"),
            offer(2, Contact, "chess", 5, "3.0.0"),
            offer(3, Provider, "chess", 5, "1.10.0"),
            offer(4, Provider, "chess", 5, "2.0.0-rc.1"),
            offer(5, Provider, "chess", 5, "2.0.0-rc.1"),
            offer(6, Provider, "chess", 5, "1.9.0"),
        ];
        assert_eq!(chosen(all.clone()), ["n5 2.0.0-rc.1"]);
        assert_eq!(chosen(all[..2].to_vec()), ["n2 3.0.0"]);
        assert_eq!(chosen(all[..1].to_vec()), ["n1 9.0.0"]);
        assert!(chosen(vec![]).is_empty());
    }

    #[test]
    fn programs_of_other_signers_and_names_are_other_choices() {
        let all = vec![
            offer(1, Rank::Provider, "chess", 1, "1.0.0"),
            offer(2, Rank::Provider, "chess", 2, "2.0.0"),
            offer(1, Rank::Provider, "draw", 1, "1.0.0"),
        ];
        assert_eq!(chosen(all.clone()).len(), 3);
        let wanted = |signer: Option<u8>| Wanted {
            name: "chess".parse().unwrap(),
            version: None,
            signer: signer.map(|signer| Key::from_bytes([signer; 32])),
            enables: None,
        };
        let of = |signer| Market { offers: all.clone(), ..Market::default() }.of(&wanted(signer)).offers;
        assert_eq!(chosen(of(None)), ["n1 1.0.0", "n2 2.0.0"]);
        assert_eq!(chosen(of(Some(2))), ["n2 2.0.0"]);
    }
}
