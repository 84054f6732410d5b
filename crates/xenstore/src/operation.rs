use crate::error::{Result, XenStoreError};
use crate::path::{check_path, check_watch_path};
use crate::session::until_nul;
use crate::wire::Op;

/// How often a list is begun anew because the node changed meanwhile.
const RESTARTS: u32 = 16;

/// A request, apart from the path that it is about.
#[derive(Clone, Copy, Debug)]
pub enum Operation<'a> {
    /// A node's value.
    Read,
    /// Sets a node's value.
    Write(&'a [u8]),
    /// Names of a node's children.
    Directory,
    /// As [`Operation::Directory`], from a byte of the list on.
    DirectoryPart(usize),
    /// Makes a node.
    MakeDirectory,
    /// Removes a node and all below it.
    Remove,
    /// A node's permissions.
    GetPermissions,
    /// Sets a node's permissions.
    SetPermissions(&'a [String]),
    /// The home of a domain. The path plays no part.
    DomainPath(u32),
    /// Sets a watch with this number.
    Watch(u32),
    /// Takes the watch with this number away.
    Unwatch(u32),
    /// Opens a transaction. The path plays no part.
    TransactionStart,
    /// Commits (`true`) or drops a transaction. The path plays no part.
    TransactionEnd(bool),
    /// Drops every watch and transaction of the connection. The path plays no part.
    ResetWatches,
}

impl Operation<'_> {
    /// Its type on the wire.
    #[must_use]
    pub fn op(&self) -> Op {
        match self {
            Self::Read => Op::READ,
            Self::Write(_) => Op::WRITE,
            Self::Directory => Op::DIRECTORY,
            Self::DirectoryPart(_) => Op::DIRECTORY_PART,
            Self::MakeDirectory => Op::MKDIR,
            Self::Remove => Op::RM,
            Self::GetPermissions => Op::GET_PERMS,
            Self::SetPermissions(_) => Op::SET_PERMS,
            Self::DomainPath(_) => Op::GET_DOMAIN_PATH,
            Self::Watch(_) => Op::WATCH,
            Self::Unwatch(_) => Op::UNWATCH,
            Self::TransactionStart => Op::TRANSACTION_START,
            Self::TransactionEnd(_) => Op::TRANSACTION_END,
            Self::ResetWatches => Op::RESET_WATCHES,
        }
    }

    /// Checks `path` as far as this operation sends it.
    #[cfg_attr(
        not(target_os = "linux"),
        expect(dead_code, reason = "there is no connection yet")
    )]
    pub(crate) fn check(&self, path: &str) -> Result<()> {
        match self {
            Self::DomainPath(_)
            | Self::TransactionStart
            | Self::TransactionEnd(_)
            | Self::ResetWatches => Ok(()),
            Self::Watch(_) | Self::Unwatch(_) => check_watch_path(path),
            Self::Remove if path == "/" => Err(XenStoreError::InvalidPath {
                path: path.to_owned(),
                // oxenstored would do it.
                reason: "the root cannot be removed",
            }),
            _ => check_path(path),
        }
    }

    /// Hands the payload's parts to `encode`.
    #[cfg_attr(
        not(target_os = "linux"),
        expect(dead_code, reason = "there is no connection yet")
    )]
    pub(crate) fn with_parts<R>(&self, path: &str, encode: impl FnOnce(&[&[u8]]) -> R) -> R {
        let path = path.as_bytes();
        match self {
            Self::Write(value) => encode(&[path, b"\0", value]),
            Self::DirectoryPart(number) => {
                encode(&[path, b"\0", number.to_string().as_bytes(), b"\0"])
            }
            Self::Watch(number) | Self::Unwatch(number) => {
                encode(&[path, b"\0", number.to_string().as_bytes(), b"\0"])
            }
            Self::SetPermissions(permissions) => {
                let mut parts = vec![path, b"\0".as_slice()];
                for permission in *permissions {
                    parts.extend([permission.as_bytes(), b"\0".as_slice()]);
                }
                encode(&parts)
            }
            Self::DomainPath(number) => encode(&[number.to_string().as_bytes(), b"\0"]),
            Self::TransactionStart | Self::ResetWatches => encode(&[b"\0"]),
            Self::TransactionEnd(commit) => encode(&[if *commit { b"T\0" } else { b"F\0" }]),
            _ => encode(&[path, b"\0"]),
        }
    }
}

/// Splits a list of names, or of permissions, each of which ends in a NUL.
#[must_use]
pub fn split_names(body: &[u8]) -> Vec<String> {
    let whole = body.strip_suffix(b"\0").unwrap_or(body);
    if whole.is_empty() {
        return Vec::new();
    }
    whole
        .split(|&byte| byte == 0)
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

/// Asks for the names of a node's children: at once, and piece by piece when they do not fit into one message.
#[derive(Debug, Default)]
pub struct Listing {
    /// Which state of the node the pieces belong to; none before the first piece.
    generation: Option<Vec<u8>>,
    names: Vec<u8>,
    in_pieces: bool,
    restarts: u32,
}

/// What to do after a reply.
#[derive(Debug)]
pub enum Step {
    /// Ask this next.
    Ask(Operation<'static>),
    /// The names.
    Done(Vec<String>),
}

impl Listing {
    /// Takes the reply to the last question: the first one is [`Operation::Directory`].
    ///
    /// # Errors
    /// What the store refused; [`XenStoreError::Conflict`] when the node kept changing; [`XenStoreError::Protocol`]
    /// for a piece without a generation.
    pub fn advance(
        &mut self,
        path: &str,
        reply: std::result::Result<Vec<u8>, String>,
    ) -> Result<Step> {
        match (self.in_pieces, reply) {
            (false, Ok(body)) => Ok(Step::Done(split_names(&body))),
            (false, Err(name)) if name == "E2BIG" => {
                self.in_pieces = true;
                Ok(Step::Ask(Operation::DirectoryPart(0)))
            }
            // A store that has no such operation leaves the first error standing.
            (true, Err(name)) if name == "ENOSYS" => Err(XenStoreError::named(path, "E2BIG")),
            (_, Err(name)) => Err(XenStoreError::named(path, &name)),
            (true, Ok(body)) => self.piece(&body),
        }
    }

    fn piece(&mut self, body: &[u8]) -> Result<Step> {
        let generation = until_nul(body);
        let Some(names) = body.get(generation.len() + 1..) else {
            return Err(XenStoreError::Protocol {
                reason: "a piece of a list without a generation".to_owned(),
            });
        };
        if self
            .generation
            .as_deref()
            .is_some_and(|first| first != generation)
        {
            if self.restarts == RESTARTS {
                return Err(XenStoreError::Conflict {
                    attempts: RESTARTS + 1,
                });
            }
            *self = Self {
                in_pieces: true,
                restarts: self.restarts + 1,
                ..Self::default()
            };
            return Ok(Step::Ask(Operation::DirectoryPart(0)));
        }
        self.generation.get_or_insert_with(|| generation.to_vec());
        // The last piece ends in an empty name; one with nothing in it can only be the end too.
        let last = names.is_empty() || names == b"\0" || names.ends_with(b"\0\0");
        self.names.extend_from_slice(names);
        if !last {
            return Ok(Step::Ask(Operation::DirectoryPart(self.names.len())));
        }
        if self.names.ends_with(b"\0\0") || self.names == b"\0" {
            self.names.pop();
        }
        Ok(Step::Done(split_names(&self.names)))
    }
}
