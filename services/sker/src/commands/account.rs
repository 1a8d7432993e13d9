use std::io::{self, BufRead, IsTerminal};

use serde_json::json;

use crate::{
    cli::LoginArgs,
    client::Client,
    exit::Failure,
    session::{Session, SessionFile},
};

/// Signs in, or up, and remembers it.
pub async fn login(client: &Client, args: LoginArgs) -> Result<(), Failure> {
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
    file.write(client.url(), Some(Session::new(email.clone(), session)))?;
    let answer = json!({ "url": client.url(), "user": user });
    Ok(client.output.done(&format!("signed in at {} as {email}", client.url()), &answer)?)
}

/// Signs out and forgets the sign-in. A gateway that does not answer forgets by itself when the tokens run out.
pub async fn logout(client: &Client) -> Result<(), Failure> {
    let file = SessionFile::find()?;
    let Some(session) = file.read(client.url())? else {
        return Ok(client.output.done("not signed in", &json!({ "signed_in": false }))?);
    };
    client.platform().set_token(session.access_token);
    let revoked =
        client.platform().post("/api/v1/auth/logout", &json!({ "refresh_token": session.refresh_token })).await;
    file.write(client.url(), None)?;
    let words = match revoked {
        Ok(_) => format!("signed out at {}", client.url()),
        Err(error) => format!("forgotten here; {} did not take part: {}", client.url(), error.message()),
    };
    Ok(client.output.done(&words, &json!({ "signed_in": false }))?)
}

fn ask(prompt: &str) -> Result<String, Failure> {
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
fn password() -> Result<String, Failure> {
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
