use std::net::IpAddr;

use actix_web::{HttpRequest, web::Data};

use crate::app::Origin;

/// Whose `X-Forwarded-For` is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrustedProxies {
    /// Nobody's.
    None,
    /// That of programs on this host.
    Loopback,
    /// That of this host and of private networks (RFC 1918, RFC 4193).
    Private,
}

impl TrustedProxies {
    /// As it is configured.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word {
            "none" => Some(TrustedProxies::None),
            "loopback" => Some(TrustedProxies::Loopback),
            "private" => Some(TrustedProxies::Private),
            _ => None,
        }
    }

    fn trusts(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match self {
            TrustedProxies::None => false,
            TrustedProxies::Loopback => address.is_loopback(),
            TrustedProxies::Private => match address {
                IpAddr::V4(v4) => v4.is_loopback() || v4.is_private(),
                IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
            },
        }
    }

    /// The address a request came from: from right to left, the first that is no trusted proxy's. What stands further left
    /// may be anybody's invention.
    fn origin<'a>(self, peer: Option<IpAddr>, forwarded: impl DoubleEndedIterator<Item = &'a str>) -> Option<IpAddr> {
        let mut origin = peer?;
        for hop in forwarded.rev() {
            if !self.trusts(origin) {
                break;
            }
            match hop.trim().parse() {
                Ok(address) => origin = address,
                Err(_) => break,
            }
        }
        Some(origin)
    }
}

/// Where a request comes from.
pub(super) fn origin(request: &HttpRequest) -> Origin {
    let proxies = request.app_data::<Data<TrustedProxies>>().map_or(TrustedProxies::None, |proxies| *proxies.get_ref());
    let lines = request.headers().get_all("x-forwarded-for").filter_map(|value| value.to_str().ok());
    let hops: Vec<&str> = lines.flat_map(|line| line.split(',')).collect();
    let peer = request.peer_addr().map(|address| address.ip());
    let origin = proxies.origin(peer, hops.into_iter());
    Origin(origin.map_or_else(|| "unknown".to_owned(), |address| address.to_canonical().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(proxies: TrustedProxies, peer: &str, forwarded: &[&str]) -> String {
        proxies.origin(peer.parse().ok(), forwarded.iter().copied()).unwrap().to_string()
    }

    #[test]
    fn only_what_trusted_proxies_say_is_believed() {
        let private = TrustedProxies::Private;
        assert_eq!(origin(private, "127.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(origin(private, "10.0.0.2", &["1.1.1.1", "203.0.113.9", "10.0.0.7"]), "203.0.113.9");
        assert_eq!(origin(private, "203.0.113.9", &["1.1.1.1"]), "203.0.113.9");
        assert_eq!(origin(private, "10.0.0.2", &["nonsense"]), "10.0.0.2");
        assert_eq!(origin(TrustedProxies::Loopback, "10.0.0.2", &["1.1.1.1"]), "10.0.0.2");
        assert_eq!(origin(TrustedProxies::None, "127.0.0.1", &["1.1.1.1"]), "127.0.0.1");
    }
}
