//! The shared library: found at run time, checked once, never unloaded.
#![expect(unsafe_code, reason = "dlopen, and calls into the library that it opens")]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use libloading::os::unix::{Library as Handle, RTLD_LOCAL, RTLD_NOW};

use super::abi::{
    Component, Configuration, Generation, GetPacket, GetVersion, InitHandle, OK, OfComponent, ParseParameter,
    ReleasePacket, SendPicture, SetParameter,
};
use super::error::SvtError;

/// What Debian 13 and 12 call it, and later ones, so that they can be named when they are in the way.
const NAMES: [&str; 4] = ["libSvtAv1Enc.so.2", "libSvtAv1Enc.so.1", "libSvtAv1Enc.so.3", "libSvtAv1Enc.so.4"];

/// One loaded library. Its functions stay valid for ever, since it is never unloaded.
pub(super) struct Library {
    pub(super) generation: Generation,
    /// As it says: `2.3.0`.
    pub(super) version: String,
    pub(super) init_handle: InitHandle,
    pub(super) parse_parameter: ParseParameter,
    pub(super) set_parameter: SetParameter,
    pub(super) init: OfComponent,
    pub(super) send_picture: SendPicture,
    pub(super) get_packet: GetPacket,
    pub(super) release_packet: ReleasePacket,
    pub(super) deinit: OfComponent,
    pub(super) deinit_handle: OfComponent,
}

/// Starting and ending encoders touches tables that all of a process share, without a lock of the library's own.
pub(super) fn one_at_a_time() -> MutexGuard<'static, ()> {
    static LIFECYCLE: Mutex<()> = Mutex::new(());
    LIFECYCLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks SVT-AV1 to print errors only, and not a page about itself at each start, unless someone has asked for more. It
/// has no other way to be told than its environment.
pub(super) fn quieten() {
    if std::env::var_os("SVT_LOG").is_none() {
        #[expect(
            clippy::disallowed_methods,
            reason = "SVT-AV1 reads its log level from the environment alone"
        )]
        // SAFETY: before GStreamer and its threads start. Readers in C see the environment before or after, since this
        // adds a variable and frees nothing.
        unsafe {
            std::env::set_var("SVT_LOG", "1");
        }
    }
}

/// The library of a file name or path; if empty, the first of the usual names that can be used.
pub(super) fn load(name: &str) -> Result<&'static Library, SvtError> {
    if !name.is_empty() {
        return load_named(name);
    }
    let mut trouble = None;
    for name in NAMES {
        match load_named(name) {
            Ok(library) => return Ok(library),
            Err(SvtError::Absent(_)) => {}
            Err(error) => trouble = trouble.or(Some(error)),
        }
    }
    Err(trouble.unwrap_or_else(|| SvtError::Absent(NAMES[..2].iter().map(ToString::to_string).collect())))
}

/// As root, 1.4 gives the thread that makes an encoder the highest real-time priority, and all that it starts later would
/// inherit it.
fn keeping_priority<T>(call: impl FnOnce() -> T) -> T {
    let mut parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: plain system calls about the calling thread.
    let policy = unsafe {
        libc::sched_getparam(0, &mut parameter);
        libc::sched_getscheduler(0)
    };
    let result = call();
    // SAFETY: as above.
    unsafe {
        if libc::sched_getscheduler(0) != policy {
            libc::sched_setscheduler(0, policy, &parameter);
        }
    }
    result
}

fn load_named(name: &str) -> Result<&'static Library, SvtError> {
    static LOADED: Mutex<BTreeMap<String, &'static Library>> = Mutex::new(BTreeMap::new());
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(library) = loaded.get(name) {
        return Ok(library);
    }
    // SAFETY: SVT-AV1 has no initialisers that ask anything of the process; whoever names another file may run code here
    // anyway, as with any plugin path.
    let handle =
        unsafe { Handle::open(Some(name), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| absent(name, &error))?;
    let library: &'static Library = Box::leak(Box::new(bind(&handle)?));
    // Its functions are called from now on.
    std::mem::forget(handle);
    library.verify()?;
    loaded.insert(name.to_owned(), library);
    Ok(library)
}

fn absent(name: &str, error: &libloading::Error) -> SvtError {
    let words = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    match words.contains("No such file") || words.contains("cannot open shared object") {
        true => SvtError::Absent(vec![name.to_owned()]),
        false => SvtError::Broken(words),
    }
}

fn bind(handle: &Handle) -> Result<Library, SvtError> {
    macro_rules! function {
        ($name:literal as $kind:ty) => {
            // SAFETY: the type is that of the headers of 1.4 and 2.3 alike; `bind` keeps nothing of other versions.
            *unsafe { handle.get::<$kind>(concat!($name, "\0").as_bytes()) }
                .map_err(|_| SvtError::Broken(format!("it has no `{}`", $name)))?
        };
    }
    let version = function!("svt_av1_get_version" as GetVersion)();
    let version = match version.is_null() {
        true => String::new(),
        // SAFETY: a string constant of the library.
        false => unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned(),
    };
    let (version, generation) = judge(&version)?;
    Ok(Library {
        generation,
        version,
        init_handle: function!("svt_av1_enc_init_handle" as InitHandle),
        parse_parameter: function!("svt_av1_enc_parse_parameter" as ParseParameter),
        set_parameter: function!("svt_av1_enc_set_parameter" as SetParameter),
        init: function!("svt_av1_enc_init" as OfComponent),
        send_picture: function!("svt_av1_enc_send_picture" as SendPicture),
        get_packet: function!("svt_av1_enc_get_packet" as GetPacket),
        release_packet: function!("svt_av1_enc_release_out_buffer" as ReleasePacket),
        deinit: function!("svt_av1_enc_deinit" as OfComponent),
        deinit_handle: function!("svt_av1_enc_deinit_handle" as OfComponent),
    })
}

/// `v1.4.1`, `v2.3.0-12-gabcdef` to `1.4.1`, `2.3.0-12-gabcdef` and a generation.
fn judge(version: &str) -> Result<(String, Generation), SvtError> {
    let version = version.trim_start_matches('v');
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let generation = match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Generation::of(major, minor),
        _ => None,
    };
    let shown = if version.is_empty() { "of an unknown version" } else { version };
    generation
        .map(|generation| (version.to_owned(), generation))
        .ok_or_else(|| SvtError::Version(shown.to_owned()))
}

impl Library {
    /// A handle, and the configuration that the library begins with, laid over `block`.
    pub(super) fn handle(
        &self,
        block: u8,
    ) -> Result<(ptr::NonNull<Component>, Box<Configuration>), SvtError> {
        let mut configuration = Box::new(Configuration([block; 4096]));
        let mut component = ptr::null_mut();
        let code =
            keeping_priority(|| (self.init_handle)(&mut component, ptr::null_mut(), &mut *configuration));
        let component = ptr::NonNull::new(component).filter(|_| code == OK);
        component
            .map(|component| (component, configuration))
            .ok_or(SvtError::Failed { what: "make an encoder", code })
    }

    /// Sets one parameter as on SvtAv1EncApp's command line.
    pub(super) fn parse(
        &self,
        configuration: &mut Configuration,
        name: &'static str,
        value: &str,
    ) -> Result<(), SvtError> {
        let refused = || SvtError::Parameter { name, value: value.to_owned() };
        let (key, text) = (CString::new(name), CString::new(value));
        let (Ok(key), Ok(text)) = (key, text) else { return Err(refused()) };
        match (self.parse_parameter)(configuration, key.as_ptr(), text.as_ptr()) {
            OK => Ok(()),
            _ => Err(refused()),
        }
    }

    /// Before anything is trusted to it: does it write its defaults where its version has them, nothing behind, and does
    /// its parser agree?
    fn verify(&self) -> Result<(), SvtError> {
        let layout = self.generation.layout();
        let wrong = |field| SvtError::Layout { version: self.version.clone(), field };
        let _alone = one_at_a_time();
        let mut blocks = Vec::new();
        // What is the same over two different grounds was written.
        for ground in [0x00, 0xff] {
            let (component, configuration) = self.handle(ground)?;
            (self.deinit_handle)(component.as_ptr());
            blocks.push(configuration);
        }
        let (zeros, ones) = (&blocks[0].0, &blocks[1].0);
        let written = (0..zeros.len()).rev().find(|at| zeros[*at] == ones[*at]);
        if written.is_none_or(|last| last >= layout.size) {
            return Err(wrong("end"));
        }
        for (field, offset, value) in layout.defaults {
            if !(value.stands_at(zeros, *offset) && value.stands_at(ones, *offset)) {
                return Err(wrong(field));
            }
        }
        let mut configuration = blocks.swap_remove(0);
        for (number, (name, offset)) in (1111..).zip(layout.named) {
            self.parse(&mut configuration, name, &number.to_string())?;
            if !super::abi::Field::Int(number).stands_at(&configuration.0, *offset) {
                return Err(wrong(name));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(judge("v1.4.1"), Ok(("1.4.1".to_owned(), Generation::One)));
        assert_eq!(judge("v2.3.0-3-g0123abc"), Ok(("2.3.0-3-g0123abc".to_owned(), Generation::Two)));
        assert_eq!(judge("v1.7.0"), Err(SvtError::Version("1.7.0".to_owned())));
        for odd in ["", "v", "main", "1"] {
            assert!(matches!(judge(odd), Err(SvtError::Version(_))), "{odd}");
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = load("/nonexistent/libSvtAv1Enc.so.2").map(|library| &library.version).unwrap_err();
        assert_eq!(
            error.to_string(),
            "SVT-AV1 is not installed: there is no `/nonexistent/libSvtAv1Enc.so.2`"
        );
        let error = load("libm.so.6").map(|library| &library.version).unwrap_err();
        assert_eq!(error.to_string(), "SVT-AV1 does not load: it has no `svt_av1_get_version`");
    }
}
