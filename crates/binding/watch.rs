//! A watch for JavaScript.

use std::cell::Cell;
use std::rc::Rc;

use napi::bindgen_prelude::ToNapiValue;
use napi::sys;
use napi_derive::napi;

use crate::connection::Core;
use crate::js::{Js, Promise};

/// A watch that is set until it is closed, or the connection is.
#[napi]
pub struct Watch {
    core: Rc<Core>,
    number: u32,
    path: String,
    open: Cell<bool>,
}

impl Watch {
    pub(crate) fn make(js: &Js, core: &Rc<Core>, number: u32, path: &str) -> sys::napi_value {
        let watch = Self {
            core: Rc::clone(core),
            number,
            path: path.to_owned(),
            open: Cell::new(true),
        };
        // SAFETY: the environment is live on this thread.
        unsafe { Self::to_napi_value(js.0, watch) }.unwrap_or_else(|_| js.undefined())
    }
}

#[napi]
impl Watch {
    /// Takes the watch away. Its function is not called any more from now on. Closing twice is quiet.
    #[napi(ts_return_type = "Promise<void>", catch_unwind)]
    pub fn close(&self) -> Promise {
        if self.open.replace(false) {
            return self.core.unset_watch(self.number, &self.path);
        }
        self.core.nothing()
    }
}
