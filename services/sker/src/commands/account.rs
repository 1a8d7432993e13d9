use std::io::{self, BufRead, IsTerminal};

use reqwest::Method;
use serde_json::json;
use sker_client::http::Platform;
use sker_error::{Code, Result};

use crate::{
    cli::LoginArgs,
    client::Client,
    exit::Failure,
    session::{Session, SessionFile},
};

/// Signs in, or up, and remembers it.
pub async fn login(client: &Client, args: LoginArgs) -> std::result::Result<(), Failure> {
    // Before anything is asked or sent: a sign-in that cannot be kept is of no use.
    let file = SessionFile::find()?;
    let email = match args.email {
        Some(email) => email,
        None => ask("Email: ")?,
    };
    let password = password()?;
    let platform = client.platform();
    let session = if args.register {
        let username = args.username.unwrap_or_else(|| email.split('@').next().unwrap_or_default().to_owned());
        platform.sign_up(&email, &username, &password).await?
    } else {
        platform.login(&email, &password).await?
    };
    let user = session.user.clone();
    let _lock = file.lock()?;
    file.write(client.url(), Some(Session::new(email.clone(), session)))?;
    let answer = json!({ "url": client.url(), "user": user });
    Ok(client.output.done(&format!("signed in at {} as {email}", client.url()), &answer)?)
}

/// Signs out and forgets the sign-in. A gateway that does not answer forgets by itself when the tokens run out.
pub async fn logout(client: &Client) -> std::result::Result<(), Failure> {
    let file = SessionFile::find()?;
    let _lock = file.lock()?;
    let Some(session) = file.read(client.url())? else {
        return Ok(client.output.done("not signed in", &json!({ "signed_in": false }))?);
    };
    let revoked = revoke(client.platform(), &session).await;
    file.write(client.url(), None)?;
    let words = match revoked {
        Ok(()) => format!("signed out at {}", client.url()),
        Err(error) => format!("forgotten here; {} did not take part: {}", client.url(), error.message()),
    };
    Ok(client.output.done(&words, &json!({ "signed_in": false }))?)
}

/// Ends a sign-in at its gateway. That takes an access token, which lives for minutes; what is to end lives for weeks.
async fn revoke(platform: &Platform, session: &Session) -> Result<()> {
    let logout = || platform.send(Method::POST, "/api/v1/auth/logout", None, None);
    platform.set_token(session.access_token.clone());
    match logout().await {
        Err(error) if error.code() == Code::Unauthenticated => match platform.refresh(&session.refresh_token).await {
            Ok(_) => logout().await.map(drop),
            // It has ended already.
            Err(error) if error.code() == Code::Unauthenticated => Ok(()),
            Err(error) => Err(error),
        },
        answer => answer.map(drop),
    }
}

fn ask(prompt: &str) -> std::result::Result<String, Failure> {
    if io::stdin().is_terminal() {
        eprint!("{prompt}");
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    match line.trim() {
        "" => Err(Failure::usage("no email given; use --email")),
        line => Ok(line.to_owned()),
    }
}

/// From the environment, without showing it from a terminal, or the next line of standard input; never from an argument,
/// which other users of the machine could read.
fn password() -> std::result::Result<String, Failure> {
    if let Some(password) = std::env::var("SKER_PASSWORD").ok().filter(|password| !password.is_empty()) {
        return Ok(password);
    }
    let password = if io::stdin().is_terminal() {
        rpassword::prompt_password("Password: ")?
    } else {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    match password.is_empty() {
        true => Err(Failure::usage("no password given; type it, pipe it in, or set SKER_PASSWORD")),
        false => Ok(password),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Answers one request per connection, knows the token `new` and nothing older, and tells what was asked.
    async fn gateway(listener: TcpListener, requests: usize) -> Vec<String> {
        let mut asked = Vec::new();
        for _ in 0..requests {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 8192];
            let length = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).to_ascii_lowercase();
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let (status, body) = match path.as_str() {
                "/api/v1/auth/refresh" => (
                    "200 OK",
                    r#"{"access_token":"new","refresh_token":"r2","token_type":"Bearer","expires_in":900,"user":{}}"#,
                ),
                _ if request.contains("bearer new") => ("204 No Content", ""),
                _ => ("401 Unauthorized", r#"{"code":"unauthenticated"}"#),
            };
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
            asked.push(path);
        }
        asked
    }

    #[tokio::test]
    async fn a_sign_in_ends_though_its_access_token_ran_out_long_ago() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let platform = Platform::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let session = Session { email: "a@b.c".into(), access_token: "old".into(), refresh_token: "r1".into() };
        let (asked, revoked) = tokio::join!(gateway(listener, 3), revoke(&platform, &session));
        revoked.unwrap();
        assert_eq!(asked, ["/api/v1/auth/logout", "/api/v1/auth/refresh", "/api/v1/auth/logout"]);
    }
}
