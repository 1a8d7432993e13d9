//! Who a client is when proxies stand between: `X-Forwarded-*` counts only as far as proxies that we trust have written it.

use std::{fmt::Write, net::IpAddr, str::FromStr};

use http::{HeaderMap, HeaderName, HeaderValue};

/// Whom a message was forwarded for.
pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The scheme that the client used.
pub const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The host that the client asked for.
pub const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The longest chain of proxies that is followed.
const LONGEST_CHAIN: usize = 16;

/// A range of addresses: `10.0.0.0/8`, `::1`, ...
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| format!("{text:?} is not an address or a network"))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) => {
                bits.parse().ok().filter(|bits| *bits <= most).ok_or(format!("{text:?} has a wrong length"))?
            }
        };
        Ok(Network { address, bits })
    }
}

impl Network {
    /// Whether an address is in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.bits);
                u32::from(own).checked_shr(shift).unwrap_or(0) == u32::from(other).checked_shr(shift).unwrap_or(0)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.bits);
                u128::from(own).checked_shr(shift).unwrap_or(0) == u128::from(other).checked_shr(shift).unwrap_or(0)
            }
            _ => false,
        }
    }
}

/// What is known about the client behind a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// `X-Forwarded-For` for the upstream.
    pub forwarded_for: HeaderValue,
    /// `X-Forwarded-Proto` for the upstream.
    pub proto: HeaderValue,
    /// `X-Forwarded-Host` for the upstream.
    pub host: HeaderValue,
}

/// Finds out who a client is. `headers` are those it sent, before they are cleaned; `host` is the one it asked us for.
pub fn client(headers: &HeaderMap, peer: IpAddr, host: &str, trusted: &[Network]) -> Client {
    let peer = peer.to_canonical();
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let plain = |value: &str| HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static("unknown"));
    if trusted.is_empty() || !is_trusted(peer) {
        let forwarded_for = plain(&peer.to_string());
        return Client { address: peer, forwarded_for, proto: HeaderValue::from_static("http"), host: plain(host) };
    }
    // Right to left: each trusted hop vouches for the one before it. What stands further left anyone may have written.
    let mut chain: Vec<IpAddr> = vec![peer];
    for hop in hops(headers).take(LONGEST_CHAIN) {
        let Some(address) = hop else { break };
        chain.push(address);
        if !is_trusted(address) {
            break;
        }
    }
    let address = chain.last().copied().unwrap_or(peer);
    let mut text = String::new();
    for (position, hop) in chain.iter().rev().enumerate() {
        let separator = if position == 0 { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}{hop}");
    }
    let proto = match single(headers, &FORWARDED_PROTO) {
        Some("https") => HeaderValue::from_static("https"),
        _ => HeaderValue::from_static("http"),
    };
    let host =
        single(headers, &FORWARDED_HOST).filter(|given| given.parse::<http::uri::Authority>().is_ok()).unwrap_or(host);
    Client { address, forwarded_for: plain(&text), proto, host: plain(host) }
}

/// The hops in `X-Forwarded-For`, the nearest first; `None` where it cannot be read.
fn hops(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    headers
        .get_all(FORWARDED_FOR)
        .iter()
        .rev()
        .flat_map(|value| value.to_str().unwrap_or("unreadable").rsplit(','))
        .map(|hop| hop.trim().parse::<IpAddr>().ok().map(|address| address.to_canonical()))
}

/// The nearest proxy's value.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get_all(name).iter().next_back()?.to_str().ok()?.rsplit(',').next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn seen(peer: &str, forwarded: &[&'static str]) -> (String, String) {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_static(value));
        }
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
        headers.insert(FORWARDED_HOST, HeaderValue::from_static("outside.example"));
        let client = client(&headers, address(peer), "inside", &trusted);
        let proxied = client.proto == "https";
        assert_eq!(client.host == "outside.example", proxied);
        (client.address.to_string(), client.forwarded_for.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_stranger_cannot_say_who_it_is() {
        assert_eq!(seen("203.0.113.9", &["1.2.3.4"]), ("203.0.113.9".into(), "203.0.113.9".into()));
    }

    #[test]
    fn trusted_proxies_vouch_for_the_hop_before_them_and_no_further() {
        assert_eq!(seen("10.0.0.1", &["198.51.100.7"]), ("198.51.100.7".into(), "198.51.100.7, 10.0.0.1".into()));
        assert_eq!(
            seen("10.0.0.1", &["6.6.6.6, 198.51.100.7, 10.0.0.2"]),
            ("198.51.100.7".into(), "198.51.100.7, 10.0.0.2, 10.0.0.1".into())
        );
        assert_eq!(seen("::1", &["6.6.6.6", "198.51.100.7"]).0, "198.51.100.7");
        assert_eq!(seen("10.0.0.1", &["198.51.100.7, nonsense"]).0, "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &[]).0, "10.0.0.1");
        assert_eq!(seen("::ffff:10.0.0.1", &["198.51.100.7"]).0, "198.51.100.7");
    }

    #[test]
    fn networks_are_read_and_compared_by_their_bits() {
        let within = |network: &str, one: &str| network.parse::<Network>().unwrap().contains(address(one));
        assert!(within("10.1.0.0/16", "10.1.200.3") && !within("10.1.0.0/16", "10.2.0.1"));
        assert!(within("0.0.0.0/0", "8.8.8.8") && !within("0.0.0.0/0", "::1"));
        assert!(within("fd00::/8", "fd12::1") && !within("fd00::/8", "fe80::1"));
        for bad in ["10.0.0.0/33", "ten", "10.0.0.0/", ""] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
