//! The few raw calls of Node-API that napi-rs has no form of without another thread hop or allocation.

use std::ffi::CStr;
use std::ptr::null_mut;

use napi::bindgen_prelude::{BufferSlice, FromNapiValue, ToNapiValue, TypeName, ValidateNapiValue};
use napi::{ValueType, sys};
use xenstore::XenStoreError;

use crate::error::{CodedError, ErrorCode};

/// A promise on its way out of a method.
pub struct Promise(pub sys::napi_value);

impl ToNapiValue for Promise {
    unsafe fn to_napi_value(_: sys::napi_env, promise: Self) -> napi::Result<sys::napi_value> {
        Ok(promise.0)
    }
}

impl TypeName for Promise {
    fn type_name() -> &'static str {
        "Promise"
    }

    fn value_type() -> ValueType {
        ValueType::Object
    }
}

/// Text on its way into a method. As `String`, but what is as short as most paths are is asked for once: not for its
/// length first.
pub struct Text(pub String);

impl FromNapiValue for Text {
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> napi::Result<Self> {
        let mut bytes = [0_u8; 256];
        let mut length = 0;
        // SAFETY: the place and its size are those of one live array.
        let status = unsafe {
            sys::napi_get_value_string_utf8(
                env,
                value,
                bytes.as_mut_ptr().cast(),
                bytes.len(),
                &mut length,
            )
        };
        // Room for the NUL, and for a character that was left out because it would have been cut.
        let whole = bytes.get(..length).filter(|_| length < bytes.len() - 4);
        match whole.map(<[u8]>::to_vec).map(String::from_utf8) {
            Some(Ok(text)) if status == sys::Status::napi_ok => Ok(Self(text)),
            // SAFETY: handed on as it came.
            _ => unsafe { String::from_napi_value(env, value) }.map(Self),
        }
    }
}

impl TypeName for Text {
    fn type_name() -> &'static str {
        String::type_name()
    }

    fn value_type() -> ValueType {
        String::value_type()
    }
}

impl ValidateNapiValue for Text {}

/// What a wire carries: text, which stands for its UTF-8, or bytes.
pub enum Body<'a> {
    Text(Text),
    Bytes(BufferSlice<'a>),
}

impl AsRef<[u8]> for Body<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Text(Text(text)) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl FromNapiValue for Body<'_> {
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> napi::Result<Self> {
        let mut kind = 0;
        let mut has_bytes = false;
        // SAFETY: the environment is live on this thread and both places are. Asked for the bytes of something that has
        // none, Node would end the process.
        unsafe {
            sys::napi_typeof(env, value, &mut kind);
            if kind == sys::ValueType::napi_string {
                return Text::from_napi_value(env, value).map(Self::Text);
            }
            sys::napi_is_buffer(env, value, &mut has_bytes);
            if has_bytes {
                return BufferSlice::from_napi_value(env, value).map(Self::Bytes);
            }
        }
        Err(napi::Error::new(
            napi::Status::InvalidArg,
            "a value has to be text or a Uint8Array".to_owned(),
        ))
    }
}

impl TypeName for Body<'_> {
    fn type_name() -> &'static str {
        "Body"
    }

    fn value_type() -> ValueType {
        ValueType::Unknown
    }
}

impl ValidateNapiValue for Body<'_> {}

/// The environment, on the thread that it belongs to. Every function here may only be called there, inside a handle
/// scope; whoever holds a `Js` vouches for that.
#[derive(Clone, Copy)]
pub struct Js(pub sys::napi_env);

impl Js {
    /// A promise and the handle that settles it, once.
    pub fn promise(self) -> (sys::napi_deferred, Promise) {
        let mut deferred = null_mut();
        let mut promise = null_mut();
        // SAFETY: the environment is live on this thread and both places are.
        unsafe { sys::napi_create_promise(self.0, &mut deferred, &mut promise) };
        (deferred, Promise(promise))
    }

    pub fn resolve(self, deferred: sys::napi_deferred, value: sys::napi_value) {
        // SAFETY: each deferred is settled once: it is moved out of its book for that.
        unsafe { sys::napi_resolve_deferred(self.0, deferred, value) };
    }

    pub fn reject(self, deferred: sys::napi_deferred, error: &XenStoreError) {
        let error = self.error(code_of(error), &error.to_string());
        // SAFETY: as in `resolve`.
        unsafe { sys::napi_reject_deferred(self.0, deferred, error) };
    }

    pub fn undefined(self) -> sys::napi_value {
        let mut value = null_mut();
        // SAFETY: the environment is live on this thread and the place is.
        unsafe { sys::napi_get_undefined(self.0, &mut value) };
        value
    }

    pub fn null(self) -> sys::napi_value {
        let mut value = null_mut();
        // SAFETY: as in `undefined`.
        unsafe { sys::napi_get_null(self.0, &mut value) };
        value
    }

    pub fn string(self, text: &str) -> sys::napi_value {
        let mut value = null_mut();
        // SAFETY: as in `undefined`; pointer and length are those of one live string.
        unsafe {
            sys::napi_create_string_utf8(
                self.0,
                text.as_ptr().cast(),
                text.len() as isize,
                &mut value,
            )
        };
        value
    }

    pub fn strings(self, texts: &[String]) -> sys::napi_value {
        let mut array = null_mut();
        // SAFETY: as in `undefined`.
        unsafe { sys::napi_create_array_with_length(self.0, texts.len(), &mut array) };
        for (index, text) in (0..).zip(texts) {
            // SAFETY: both values were made in the handle scope that is open.
            unsafe { sys::napi_set_element(self.0, array, index, self.string(text)) };
        }
        array
    }

    pub fn buffer(self, bytes: &[u8]) -> sys::napi_value {
        let mut value = null_mut();
        let mut copy = null_mut();
        // SAFETY: as in `string`.
        unsafe {
            sys::napi_create_buffer_copy(
                self.0,
                bytes.len(),
                bytes.as_ptr().cast(),
                &mut copy,
                &mut value,
            )
        };
        value
    }

    /// Text where the bytes are UTF-8, else a Buffer: of all that JavaScript does for an answer, making an array of
    /// bytes and reading text from it takes the third part.
    pub fn body(self, bytes: &[u8]) -> sys::napi_value {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.string(text),
            Err(_) => self.buffer(bytes),
        }
    }

    fn error(self, code: ErrorCode, message: &str) -> sys::napi_value {
        let mut error = null_mut();
        // SAFETY: as in `undefined`; both arguments were just made.
        unsafe {
            sys::napi_create_error(
                self.0,
                self.string(code.name()),
                self.string(message),
                &mut error,
            )
        };
        error
    }

    /// Keeps a function from being collected.
    pub fn keep(self, function: sys::napi_value) -> sys::napi_ref {
        let mut reference = null_mut();
        // SAFETY: as in `undefined`; the function is a live argument.
        unsafe { sys::napi_create_reference(self.0, function, 1, &mut reference) };
        reference
    }

    pub fn forget(self, reference: sys::napi_ref) {
        // SAFETY: each reference is taken out of its book to be deleted.
        unsafe { sys::napi_delete_reference(self.0, reference) };
    }

    /// Calls a kept function. What it throws becomes an `uncaughtException`, as from any other callback.
    pub fn call(self, reference: sys::napi_ref, arguments: &[sys::napi_value]) {
        let mut function = null_mut();
        let mut result = null_mut();
        // SAFETY: the reference is still in its book, so it is live; the rest as in `undefined`.
        let status = unsafe {
            sys::napi_get_reference_value(self.0, reference, &mut function);
            sys::napi_call_function(
                self.0,
                self.undefined(),
                function,
                arguments.len(),
                arguments.as_ptr(),
                &mut result,
            )
        };
        if status == sys::Status::napi_pending_exception {
            self.report_exception();
        }
    }

    fn report_exception(self) {
        let mut error = null_mut();
        // SAFETY: as in `undefined`. An environment that is being stopped has no exception to report.
        unsafe {
            if sys::napi_get_and_clear_last_exception(self.0, &mut error) == sys::Status::napi_ok
                && !error.is_null()
            {
                sys::napi_fatal_exception(self.0, error);
            }
        }
    }

    /// Runs `work` as a callback of the event loop: promises and ticks are drained after it.
    pub fn in_callback(self, context: sys::napi_async_context, work: impl FnOnce()) {
        let mut handles = null_mut();
        let mut scope = null_mut();
        // SAFETY: called from the event loop, on the environment's thread; both scopes are closed in reverse order.
        unsafe {
            sys::napi_open_handle_scope(self.0, &mut handles);
            if sys::napi_open_callback_scope(self.0, null_mut(), context, &mut scope)
                == sys::Status::napi_ok
            {
                // A panic must not unwind into libuv. The panic hook has printed it; the connection stays usable.
                drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)));
                sys::napi_close_callback_scope(self.0, scope);
            }
            sys::napi_close_handle_scope(self.0, handles);
        }
    }

    /// What callbacks are booked under in async_hooks.
    pub fn async_context(self, name: &CStr) -> sys::napi_async_context {
        let mut context = null_mut();
        let name = self.string(&name.to_string_lossy());
        // SAFETY: as in `undefined`.
        unsafe { sys::napi_async_init(self.0, null_mut(), name, &mut context) };
        context
    }
}

/// Which code an error of the store's client has.
pub fn code_of(error: &XenStoreError) -> ErrorCode {
    match error {
        XenStoreError::NotFound { .. } => ErrorCode::NotFound,
        XenStoreError::InvalidPath { .. } => ErrorCode::InvalidPath,
        XenStoreError::TooLarge { .. } => ErrorCode::TooLarge,
        XenStoreError::Protocol { .. } => ErrorCode::Protocol,
        XenStoreError::Io { .. } => ErrorCode::Io,
        XenStoreError::Closed { .. } => ErrorCode::Closed,
        XenStoreError::NoEndpoint { .. } => ErrorCode::NoEndpoint,
        _ => ErrorCode::Refused,
    }
}

/// The same error, to be thrown.
pub fn coded(error: &XenStoreError) -> CodedError {
    CodedError::new(code_of(error), error.to_string())
}
