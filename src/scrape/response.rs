//! What came back: the body of an answer, or in words why it has none that makes sense here.

use super::describe::quote;

/// Every head of an answer that makes sense here is shorter.
const LONGEST_HEAD: usize = 64 << 10;
const MOST_HEADERS: usize = 100;

/// The body of an answer, as soon as it is whole.
pub(super) fn body(answer: &[u8], at_the_end: bool) -> Result<Option<Vec<u8>>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let length = match head.parse(answer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if !at_the_end && answer.len() < LONGEST_HEAD => {
            return Ok(None);
        }
        _ if answer.is_empty() => return Err("hangs up without an answer".to_owned()),
        Ok(httparse::Status::Partial) if answer.starts_with(b"HTTP/") => {
            return Err("hangs up in the middle of its answer".to_owned());
        }
        _ => {
            let line = answer.split(|byte| *byte == b'\n').next();
            let line = String::from_utf8_lossy(line.unwrap_or_default());
            return Err(format!("answers, but not in HTTP: {}", quote(&line)));
        }
    };
    let header = |name: &str| {
        let mut headers = head.headers.iter();
        let found = headers.find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    let code = head.code.unwrap_or_default();
    if code != 200 {
        let reason = head.reason.unwrap_or_default();
        return Err(refusal(code, reason, header("Location")));
    }
    let body = &answer[length..];
    let cut = |body: &[u8]| {
        format!(
            "hangs up in the middle of its answer, after {} bytes",
            body.len()
        )
    };
    let is_chunked =
        header("Transfer-Encoding").is_some_and(|how| how.eq_ignore_ascii_case("chunked"));
    if is_chunked {
        // Put together once, when its end may have come.
        if !at_the_end && !body.ends_with(b"\r\n\r\n") {
            return Ok(None);
        }
        return match joined(body) {
            None if at_the_end => Err(cut(body)),
            joined => Ok(joined),
        };
    }
    match header("Content-Length").and_then(|length| length.trim().parse::<usize>().ok()) {
        Some(length) if body.len() >= length => Ok(Some(body[..length].to_vec())),
        Some(length) if at_the_end => Err(format!("{} of {length}", cut(body))),
        None if at_the_end => Ok(Some(body.to_vec())),
        _ => Ok(None),
    }
}

/// The chunks of a body (RFC 9112, section 7.1), if the last is there.
fn joined(mut chunked: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((start, size))) = httparse::parse_chunk_size(chunked)
        else {
            return None;
        };
        if size == 0 {
            return Some(body);
        }
        let end = start.checked_add(usize::try_from(size).ok()?)?;
        body.extend_from_slice(chunked.get(start..end)?);
        chunked = chunked.get(end..)?.strip_prefix(b"\r\n")?;
    }
}

fn refusal(code: u16, reason: &str, location: Option<&str>) -> String {
    let status = format!("answers {code} {reason}").trim_end().to_owned();
    match (code, location) {
        (300..=399, Some(location)) => format!("{status}: ask {} instead", quote(location)),
        (401, _) => format!("{status}: it wants a password, which can't be given here"),
        (403, _) => format!("{status}: this machine is in no network of its `allow`"),
        (404, _) => format!("{status}: another path, or another program"),
        (502..=504, _) => format!("{status}: a web server is there, the exporter behind it is not"),
        _ => status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of an answer that comes byte by byte, and of one that comes at once.
    fn answered(answer: &[u8]) -> Result<String, String> {
        let whole = |answer| body(answer, true).map(|body| body.unwrap());
        let at_once = whole(answer);
        let mut by_bytes = None;
        for end in 0..answer.len() {
            match body(&answer[..end], false) {
                Ok(None) => {}
                done => {
                    by_bytes = Some(done.map(Option::unwrap));
                    break;
                }
            }
        }
        if let Some(by_bytes) = by_bytes {
            assert_eq!(by_bytes.is_ok(), at_once.is_ok());
        }
        at_once.map(|body| String::from_utf8(body).unwrap())
    }

    #[test]
    fn an_answer_is_whole_by_its_length_its_last_chunk_or_its_end() {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\na 1\nb\nMORE",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n2;x=y\r\nb\n\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\na 1\nb\n",
        ] {
            assert_eq!(
                answered(answer.as_bytes()).as_deref(),
                Ok("a 1\nb\n"),
                "{answer}"
            );
        }
    }

    #[test]
    fn what_is_no_whole_answer_is_said() {
        for (answer, said) in [
            ("", "hangs up without an answer"),
            ("HTTP/1.1 20", "hangs up in the middle of its answer"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na 1\n",
                "hangs up in the middle of its answer, after 4 bytes of 9",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n",
                "hangs up in the middle of its answer, after 9 bytes",
            ),
            (
                "SSH-2.0-OpenSSH_9.2\r\n",
                "answers, but not in HTTP: \"SSH-2.0-OpenSSH_9.2\"",
            ),
            ("\x1b[2J", "answers, but not in HTTP: \"\u{fffd}[2J\""),
            (
                "HTTP/1.1 404 Not Found\r\n\r\n",
                "answers 404 Not Found: another path, or another program",
            ),
            (
                "HTTP/1.1 403 Forbidden\r\n\r\n",
                "answers 403 Forbidden: this machine is in no network of its `allow`",
            ),
            (
                "HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n",
                "answers 302 Found: ask \"/login\" instead",
            ),
            ("HTTP/1.1 500\r\n\r\n", "answers 500"),
        ] {
            assert_eq!(
                answered(answer.as_bytes()),
                Err(said.to_owned()),
                "{answer:?}"
            );
        }
    }
}
