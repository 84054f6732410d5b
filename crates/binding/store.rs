//! XenStore for JavaScript.

use std::rc::Rc;

use napi::Env;
use napi::bindgen_prelude::{Either, Function, JsValue, Null};
use napi_derive::napi;
use xenstore::{Listing, Operation};

use crate::connection::{Core, Wanted};
use crate::error::CodedError;
use crate::js::{Body, Promise, Text, coded};
use crate::watch::Watch;

/// How watch events and replies reach JavaScript.
#[napi(string_enum = "lowercase")]
#[derive(PartialEq, Eq)]
pub enum PollMode {
    /// From inside Node's own event loop: the fastest. Where that cannot be had, as `thread`.
    Loop,
    /// From a thread of the addon's.
    Thread,
}

/// Where to connect to, and how to wait.
#[napi(object)]
pub struct OpenOptions {
    /// Path of a device or socket; null to look for the machine's own.
    pub endpoint: Either<String, Null>,
    /// How to wait.
    pub poll: PollMode,
}

/// One connection to XenStore. It stays open until `close`, or until it is lost; then everything fails with
/// `XS_CLOSED`. Watches and requests under way keep the process alive.
#[napi]
pub struct XenStore {
    core: Rc<Core>,
}

#[napi]
impl XenStore {
    /// Connects. `onClose` is called once when the connection is lost, not after `close`.
    /// Throws `XS_NO_ENDPOINT` when there is no XenStore, `XS_IO` when it cannot be reached.
    #[napi(factory, catch_unwind)]
    pub fn open(
        env: Env,
        options: OpenOptions,
        #[napi(ts_arg_type = "(reason: string) => void")] on_close: Function<'_, String, ()>,
    ) -> Result<Self, CodedError> {
        let endpoint = match &options.endpoint {
            Either::A(path) => Some(path.as_str()),
            Either::B(_) => None,
        };
        let thread = options.poll == PollMode::Thread;
        let core =
            Core::open(env, endpoint, thread, on_close.raw()).map_err(|error| coded(&error))?;
        Ok(Self { core })
    }

    /// Path of the device or socket.
    #[napi(getter, catch_unwind)]
    pub fn endpoint(&self) -> String {
        self.core.endpoint().path().display().to_string()
    }

    /// A node's value.
    #[napi(ts_return_type = "Promise<Buffer>", catch_unwind)]
    pub fn read(&self, #[napi(ts_arg_type = "string")] path: Text) -> Promise {
        self.core.request(&Operation::Read, &path.0, Wanted::Value)
    }

    /// Sets a node's value, text in UTF-8; makes it, and its parents, if need be.
    #[napi(ts_return_type = "Promise<void>", catch_unwind)]
    pub fn write(
        &self,
        #[napi(ts_arg_type = "string")] path: Text,
        #[napi(ts_arg_type = "string | Uint8Array")] value: Body<'_>,
    ) -> Promise {
        self.core
            .request(&Operation::Write(value.as_ref()), &path.0, Wanted::Nothing)
    }

    /// Names of a node's children, however many.
    #[napi(ts_return_type = "Promise<string[]>", catch_unwind)]
    pub fn list(&self, path: String) -> Promise {
        self.core.request(
            &Operation::Directory,
            &path,
            Wanted::List(Listing::default()),
        )
    }

    /// Makes a node and its parents; one that is there stays as it is.
    #[napi(ts_return_type = "Promise<void>", catch_unwind)]
    pub fn make_directory(&self, path: String) -> Promise {
        self.core
            .request(&Operation::MakeDirectory, &path, Wanted::Nothing)
    }

    /// Removes a node and all below it. `XS_NOT_FOUND` when not even its parent is there.
    #[napi(ts_return_type = "Promise<void>", catch_unwind)]
    pub fn remove(&self, #[napi(ts_arg_type = "string")] path: Text) -> Promise {
        self.core.remove(&path.0)
    }

    /// A node's permissions, such as `n0`: the owner with everybody's, then those of single domains.
    #[napi(ts_return_type = "Promise<string[]>", catch_unwind)]
    pub fn get_permissions(&self, path: String) -> Promise {
        self.core
            .request(&Operation::GetPermissions, &path, Wanted::Names)
    }

    /// Sets a node's permissions, in the form of `getPermissions`.
    #[napi(ts_return_type = "Promise<void>", catch_unwind)]
    pub fn set_permissions(&self, path: String, permissions: Vec<String>) -> Promise {
        self.core.request(
            &Operation::SetPermissions(&permissions),
            &path,
            Wanted::Nothing,
        )
    }

    /// The home of a domain, whether or not there is such a domain.
    #[napi(ts_return_type = "Promise<string>", catch_unwind)]
    pub fn domain_path(&self, domid: u32) -> Promise {
        self.core
            .request(&Operation::DomainPath(domid), "", Wanted::Text)
    }

    /// Calls `onEvent` with the path of each change at or below `path`, and once at the beginning. Events say that
    /// something may have changed: read again, count nothing.
    #[napi(ts_return_type = "Promise<Watch>", catch_unwind)]
    pub fn watch(
        &self,
        path: String,
        #[napi(ts_arg_type = "(path: string) => void")] on_event: Function<'_, String, ()>,
    ) -> Promise {
        self.core
            .set_watch(&path, on_event.raw(), false, Watch::make)
    }

    /// Calls `onEvent` for each change below `path`, with the node's path from there and, of a child of `path`, the value
    /// that it had after the event, as text where it is UTF-8: null when it was gone, undefined when the store does not
    /// give it. Other than by `watch`, nothing is told of a child that `remove` took away here. A change of `path` itself, or above, has an
    /// empty name and no value, as has the event at the beginning.
    #[napi(ts_return_type = "Promise<Watch>", catch_unwind)]
    pub fn watch_values(
        &self,
        path: String,
        #[napi(ts_arg_type = "(below: string, value: string | Buffer | null | undefined) => void")]
        on_event: Function<'_, String, ()>,
    ) -> Promise {
        self.core
            .set_watch(&path, on_event.raw(), true, Watch::make)
    }

    /// Closes it: what is under way fails with `XS_CLOSED`, watches end. Closing twice is quiet.
    #[napi(catch_unwind)]
    pub fn close(&self) {
        self.core.close();
    }
}
