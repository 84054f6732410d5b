//! Nodes, their permissions and their sizes.

use std::collections::BTreeMap;

/// A guest's node is smaller: value, names of children and permissions, in bytes.
const NODE_SIZE: usize = 2048;
/// What a node takes beside those: C xenstored stores three counts and a generation.
const NODE_OVERHEAD: usize = 24;
/// Nodes that one guest may own.
const NODES: usize = 1000;
/// From here on numbers name no domain (`DOMID_FIRST_RESERVED`).
const FIRST_RESERVED_DOMAIN: u32 = 0x7ff0;
/// Permissions that a guest may give one node.
const PERMISSIONS: usize = 5;

/// One entry of a permission list: `n`, `r`, `w` or `b`, and a domain. The first names the owner, and what domains
/// that are not in the list may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    pub letter: u8,
    pub domid: u32,
}

impl Permission {
    /// # Errors
    /// `EINVAL` for what is no permission, `ENOENT` for a number that no domain can have.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let (&letter, digits) = bytes.split_first().ok_or("EINVAL")?;
        let domid = std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .ok_or("EINVAL")?;
        if !b"nrwb".contains(&letter) {
            Err("EINVAL")
        } else if domid >= FIRST_RESERVED_DOMAIN {
            Err("ENOENT")
        } else {
            Ok(Self { letter, domid })
        }
    }

    fn grants(self, wanted: Access) -> bool {
        match wanted {
            Access::Read => matches!(self.letter, b'r' | b'b'),
            Access::Write => matches!(self.letter, b'w' | b'b'),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub value: Vec<u8>,
    pub permissions: Vec<Permission>,
    /// In the order in which they were made, which is the order in which they are listed.
    pub children: Vec<String>,
    /// Number of the change that made the node as it is.
    pub generation: u64,
}

impl Node {
    fn size(&self) -> usize {
        let names: usize = self.children.iter().map(|name| name.len() + 1).sum();
        NODE_OVERHEAD + self.value.len() + names + 8 * self.permissions.len()
    }

    pub fn allows(&self, domid: u32, wanted: Access) -> bool {
        let Some(owner) = self.permissions.first() else {
            return false;
        };
        let own = self
            .permissions
            .iter()
            .skip(1)
            .find(|entry| entry.domid == domid);
        domid == 0 || owner.domid == domid || own.unwrap_or(owner).grants(wanted)
    }
}

/// A store's name for what went wrong, such as `ENOENT`.
pub type Refusal = &'static str;

/// What an operation does to the tree; a transaction keeps these and does them again at its end.
#[derive(Clone, Debug)]
pub enum Change {
    Write {
        path: String,
        value: Vec<u8>,
    },
    MakeDirectory {
        path: String,
    },
    Remove {
        path: String,
    },
    SetPermissions {
        path: String,
        permissions: Vec<Permission>,
    },
}

impl Change {
    pub fn path(&self) -> &str {
        match self {
            Self::Write { path, .. }
            | Self::MakeDirectory { path }
            | Self::Remove { path }
            | Self::SetPermissions { path, .. } => path,
        }
    }
}

/// What watchers are told of.
#[derive(Clone, Debug)]
pub struct Effect {
    pub path: String,
    /// Nodes that went, as they were, each after those below it; empty when it was not removed.
    pub removed: Vec<(String, Node)>,
}

/// All nodes by absolute path. Every parent of a node is there.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
    generation: u64,
}

impl Tree {
    pub fn new() -> Self {
        let mut tree = Self {
            nodes: BTreeMap::new(),
            generation: 0,
        };
        let root = Node {
            value: Vec::new(),
            permissions: vec![Permission {
                letter: b'n',
                domid: 0,
            }],
            children: Vec::new(),
            generation: 0,
        };
        tree.nodes.insert("/".to_owned(), root);
        for path in ["/tool", "/local/domain"] {
            // The root is dom0's, and so is what it makes: nothing can refuse it.
            drop(tree.apply(
                0,
                &Change::MakeDirectory {
                    path: path.to_owned(),
                },
            ));
        }
        tree
    }

    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Makes the node at `path` what it is in another tree. Nodes above and below stay as they are.
    pub fn put(&mut self, path: &str, node: Option<Node>) {
        match node {
            Some(node) => self.nodes.insert(path.to_owned(), node),
            None => self.nodes.remove(path),
        };
    }

    /// Paths of the node at `path` and of all below it.
    pub fn tree_at(&self, path: &str) -> Vec<String> {
        let below = format!("{path}/");
        self.nodes
            .range(path.to_owned()..)
            .map(|(path, _)| path)
            .take_while(|candidate| candidate.starts_with(path))
            .filter(|candidate| *candidate == path || candidate.starts_with(&below))
            .cloned()
            .collect()
    }

    /// The node, if `domid` may do `wanted` to it.
    pub fn open(&self, domid: u32, path: &str, wanted: Access) -> Result<&Node, Refusal> {
        match self.nodes.get(path) {
            Some(node) if node.allows(domid, wanted) => Ok(node),
            Some(_) => Err("EACCES"),
            // A guest learns that a node is missing only where it could have got it.
            None if self.nearest(path).allows(domid, wanted) => Err("ENOENT"),
            None => Err("EACCES"),
        }
    }

    /// The lowest node that exists at or above `path`.
    pub fn nearest(&self, path: &str) -> &Node {
        let mut path = path;
        loop {
            if let Some(node) = self.nodes.get(path) {
                return node;
            }
            path = parent(path);
        }
    }

    /// Carries `change` out for `domid`. `None` when there was nothing to do.
    pub fn apply(&mut self, domid: u32, change: &Change) -> Result<Option<Effect>, Refusal> {
        self.generation += 1;
        let path = change.path();
        let told = |removed| {
            Some(Effect {
                path: path.to_owned(),
                removed,
            })
        };
        match change {
            Change::Write { value, .. } => {
                self.check_size(domid, path, |node| node.value.clone_from(value))?;
                let node = self.make(domid, path, Access::Write)?;
                node.value.clone_from(value);
                Ok(told(Vec::new()))
            }
            Change::MakeDirectory { .. } => {
                if self.nodes.contains_key(path) {
                    return self.open(domid, path, Access::Write).map(|_| None);
                }
                self.make(domid, path, Access::Write)?;
                Ok(told(Vec::new()))
            }
            Change::Remove { .. } => self
                .remove(domid, path)
                .map(|removed| removed.and_then(told)),
            Change::SetPermissions { permissions, .. } => {
                let owner = self
                    .open(domid, path, Access::Write)?
                    .permissions
                    .first()
                    .map(|entry| entry.domid);
                if domid != 0 {
                    if owner != Some(domid) {
                        return Err("EACCES");
                    }
                    if permissions.first().map(|entry| entry.domid) != owner {
                        return Err("EPERM");
                    }
                    if permissions.len() > PERMISSIONS {
                        return Err("ENOSPC");
                    }
                }
                self.check_size(domid, path, |node| node.permissions.clone_from(permissions))?;
                let node = self.make(domid, path, Access::Write)?;
                node.permissions.clone_from(permissions);
                Ok(told(Vec::new()))
            }
        }
    }

    /// The node, made with its parents if it is missing.
    fn make(&mut self, domid: u32, path: &str, wanted: Access) -> Result<&mut Node, Refusal> {
        if !self.nodes.contains_key(path) {
            let above = self.nearest(path);
            if !above.allows(domid, wanted) {
                return Err("EACCES");
            }
            let mut permissions = above.permissions.clone();
            if domid != 0
                && let Some(owner) = permissions.first_mut()
            {
                // Guests own what they make.
                owner.domid = domid;
            }
            self.create(domid, path, &permissions)?;
        }
        let generation = self.generation;
        let node = self.nodes.get_mut(path).ok_or("EIO")?;
        if !node.allows(domid, wanted) {
            return Err("EACCES");
        }
        node.generation = generation;
        Ok(node)
    }

    fn create(
        &mut self,
        domid: u32,
        path: &str,
        permissions: &[Permission],
    ) -> Result<(), Refusal> {
        let missing: Vec<&str> = std::iter::successors(Some(path), |path| Some(parent(path)))
            .take_while(|path| !self.nodes.contains_key(*path))
            .collect();
        if domid != 0 {
            let owned = |node: &&Node| {
                node.permissions
                    .first()
                    .is_some_and(|owner| owner.domid == domid)
            };
            if self.nodes.values().filter(owned).count() + missing.len() > NODES {
                return Err("ENOSPC");
            }
            let highest = missing.last().copied().unwrap_or(path);
            self.check_size(domid, parent(highest), |node| {
                node.children.push(name(highest).to_owned());
            })?;
        }
        for path in missing.into_iter().rev() {
            let node = Node {
                value: Vec::new(),
                permissions: permissions.to_vec(),
                children: Vec::new(),
                generation: self.generation,
            };
            self.nodes.insert(path.to_owned(), node);
            if let Some(above) = self.nodes.get_mut(parent(path)) {
                above.children.push(name(path).to_owned());
                above.generation = self.generation;
            }
        }
        Ok(())
    }

    /// `None` when the node is missing but its parent is there: that counts as done.
    fn remove(&mut self, domid: u32, path: &str) -> Result<Option<Vec<(String, Node)>>, Refusal> {
        if path == "/" {
            return Err("EINVAL");
        }
        match self.open(domid, path, Access::Write) {
            Ok(_) => {}
            Err("ENOENT") if self.nodes.contains_key(parent(path)) => return Ok(None),
            Err(refusal) => return Err(refusal),
        }
        let above = self.nodes.get(parent(path)).ok_or("EINVAL")?;
        if !above.children.iter().any(|child| child == name(path)) {
            // Only in a transaction, which looked at the node above before somebody else made this one.
            return Err("EIO");
        }
        let mut removed = Vec::new();
        self.take(path.to_owned(), &mut removed);
        let generation = self.generation;
        if let Some(above) = self.nodes.get_mut(parent(path)) {
            above.children.retain(|child| child != name(path));
            above.generation = generation;
        }
        Ok(Some(removed))
    }

    /// Moves the node at `path` and all below it to `removed`.
    fn take(&mut self, path: String, removed: &mut Vec<(String, Node)>) {
        let Some(node) = self.nodes.remove(&path) else {
            return;
        };
        for child in &node.children {
            self.take(format!("{path}/{child}"), removed);
        }
        removed.push((path, node));
    }

    /// Refuses what would make a guest's node too large.
    fn check_size(
        &self,
        domid: u32,
        path: &str,
        change: impl FnOnce(&mut Node),
    ) -> Result<(), Refusal> {
        if domid == 0 {
            return Ok(());
        }
        let mut node = self.nodes.get(path).cloned().unwrap_or_else(|| Node {
            value: Vec::new(),
            permissions: self.nearest(path).permissions.clone(),
            children: Vec::new(),
            generation: 0,
        });
        change(&mut node);
        if node.size() >= NODE_SIZE {
            Err("ENOSPC")
        } else {
            Ok(())
        }
    }
}

/// `/` is its own parent.
pub fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => path.get(..at).unwrap_or("/"),
    }
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
