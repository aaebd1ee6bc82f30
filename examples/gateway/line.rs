//! Lines of a client: cut out of its bytes without trusting them, and read as events.

/// Bytes of a line, at most.
pub(crate) const LINE_BYTES_MAX: usize = 256;

/// What a client said in one line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Said {
    pub(crate) time_ms: u64,
    pub(crate) key: u32,
    pub(crate) value: f32,
}

/// Reads `time_ms,key,value`. Times after `latest_ms` are refused, so that no client can carry time away.
pub(crate) fn parse(line: &[u8], latest_ms: u64) -> Result<Said, &'static str> {
    let line = std::str::from_utf8(line).map_err(|_| "not UTF-8")?;
    let mut fields = line.trim_end_matches('\r').split(',').map(str::trim);
    let (Some(time), Some(key), Some(value), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err("a line is time_ms,key,value");
    };
    let time_ms =
        time.parse().map_err(|_| "time_ms is a whole number of milliseconds since 1970")?;
    if time_ms > latest_ms {
        return Err("time_ms lies more than a day ahead");
    }
    let key = key.parse().map_err(|_| "key is a whole number below 4294967296")?;
    let value = value.parse().map_err(|_| "value is a number")?;
    Ok(Said { time_ms, key, value })
}

/// Cuts bytes into lines, holding no more than one line of bounded length.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    begun: Vec<u8>,
    /// The line at hand is too long: it goes on until it ends.
    overlong: bool,
    /// Lines that have ended.
    pub(crate) count: u64,
}

impl Lines {
    /// Takes bytes and hands over each line that ends in them; `None` for one that was too long.
    pub(crate) fn take(&mut self, mut bytes: &[u8], mut line: impl FnMut(u64, Option<&[u8]>)) {
        while let Some(end) = bytes.iter().position(|&b| b == b'\n') {
            self.hold(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.end(&mut line);
        }
        self.hold(bytes);
    }

    /// The bytes have ended: hands over what was begun.
    pub(crate) fn finish(&mut self, mut line: impl FnMut(u64, Option<&[u8]>)) {
        if self.overlong || !self.begun.is_empty() {
            self.end(&mut line);
        }
    }

    fn hold(&mut self, bytes: &[u8]) {
        self.overlong |= self.begun.len() + bytes.len() > LINE_BYTES_MAX;
        if self.overlong {
            self.begun.clear();
        } else {
            self.begun.extend_from_slice(bytes);
        }
    }

    fn end(&mut self, line: &mut impl FnMut(u64, Option<&[u8]>)) {
        self.count += 1;
        let whole = !std::mem::take(&mut self.overlong);
        // An empty line says nothing.
        if !whole || !self.begun.trim_ascii().is_empty() {
            line(self.count, whole.then_some(self.begun.as_slice()));
        }
        self.begun.clear();
    }
}
