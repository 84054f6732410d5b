//! Ports to the host: devices that nobody else in the guest may have open beside the agent.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat, fchmod, fchown, fstat, major, minor};
use rustix::process::geteuid;
use rustix::termios::{OptionalActions, ioctl_tiocexcl, isatty, tcgetattr, tcsetattr};

use crate::bridge::{End, bridge};
use crate::sys::check;
use crate::way::{Place, denied, is_ours};

const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);
/// What lets anybody but the owner in.
const OTHERS: u32 = 0o077;
/// Numbers of `/dev/tty0`, the console that is in front; of `/dev/tty`, `/dev/console` and `/dev/ptmx`.
const STANDING_FOR_OTHERS: [(u32, u32); 4] = [(4, 0), (5, 0), (5, 1), (5, 2)];

/// Opens a character device and gives a socket to it, which the caller owns. While no host has the other end, what is
/// written is thrown away; when one leaves, the byte 0xff is read. The socket ends when the device goes, and the device
/// is closed when the socket is.
///
/// A serial line is taken over as getty does it: it becomes root's alone, and whoever had it open has it no more. Another
/// device is refused unless it is root's alone already; a port of virtio-serial, which the kernel makes so, is opened by
/// one at a time.
///
/// # Errors
/// The system's; a path that is no character device, that others can make lead elsewhere, or that cannot be had alone.
pub fn open_port(path: &Path) -> io::Result<OwnedFd> {
    let place = Place::find(path)?;
    // Before it is opened: of some files that alone does something.
    judge_kind(&place.status()?)?;
    let device = open(&place)?;
    let status = fstat(&device)?;
    judge_kind(&status)?;
    let port = if isatty(&device) {
        take_over(&place, device, &status)?
    } else {
        judge_privacy(&status)?;
        device
    };
    bridge(port, End::Pause)
}

fn open(place: &Place) -> io::Result<OwnedFd> {
    place.open(OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY)
}

fn judge_kind(status: &Stat) -> io::Result<()> {
    if FileType::from_raw_mode(status.st_mode) != FileType::CharacterDevice {
        return Err(io::Error::other("it is no character device"));
    }
    if STANDING_FOR_OTHERS.contains(&(major(status.st_rdev), minor(status.st_rdev))) {
        return Err(denied(
            "it stands for other terminals: wanted one of its own".to_owned(),
        ));
    }
    Ok(())
}

fn judge_privacy(status: &Stat) -> io::Result<()> {
    if is_ours(status) && status.st_mode & OTHERS == 0 {
        return Ok(());
    }
    Err(denied(format!(
        "others may open it (user {}, mode {:04o}): wanted root's, with mode 0600",
        status.st_uid,
        status.st_mode & 0o7777
    )))
}

/// Makes a terminal root's alone, ends what others have open of it, opens it anew, raw, and lets nobody else in. In this
/// order: who opens it before its mode is changed is hung up on after.
fn take_over(place: &Place, first: OwnedFd, found: &Stat) -> io::Result<OwnedFd> {
    if !is_ours(found) {
        fchown(&first, Some(geteuid()), None).map_err(cannot("taking it over"))?;
    }
    if found.st_mode & OTHERS != 0 {
        fchmod(&first, PRIVATE).map_err(cannot("making it root's alone"))?;
    }
    judge_privacy(&fstat(&first)?)?;
    hang_up(&first)?;
    let line = open(place)?;
    let status = fstat(&line)?;
    let identity = |status: &Stat| (status.st_dev, status.st_ino, status.st_rdev);
    if identity(&status) != identity(found) {
        return Err(denied("another device took its place meanwhile".to_owned()));
    }
    judge_privacy(&status)?;
    ioctl_tiocexcl(&line).map_err(cannot("keeping others out"))?;
    // It would otherwise echo what comes in and rewrite line ends.
    let mut settings = tcgetattr(&line)?;
    settings.make_raw();
    tcsetattr(&line, OptionalActions::Now, &settings)?;
    Ok(line)
}

/// As vhangup(2), which knows only the terminal that the process belongs to: whoever has this one open can neither read
/// nor write it any more, nor feed it input.
fn hang_up(line: &OwnedFd) -> io::Result<()> {
    // SAFETY: the descriptor is open, and this request takes no argument.
    check(unsafe { libc::ioctl(line.as_raw_fd(), libc::TIOCVHANGUP) })
        .map(drop)
        .map_err(cannot(
            "ending what others have open of it, which needs CAP_SYS_ADMIN",
        ))
}

fn cannot<E: Into<io::Error>>(doing: &'static str) -> impl Fn(E) -> io::Error {
    move |error| {
        let error = error.into();
        io::Error::new(error.kind(), format!("{doing}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions, Permissions};
    use std::io::{Read, Write};
    use std::os::fd::FromRawFd;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::testing::{Outcome, Scratch};

    /// A terminal whose other side is the host.
    struct Line {
        host: File,
        /// As it was before the agent came: a terminal without anybody is gone.
        before: File,
        path: PathBuf,
    }

    fn line() -> io::Result<Line> {
        let (mut master, mut slave) = (0, 0);
        let none = std::ptr::null_mut();
        // SAFETY: both places are live; no name and no settings are asked for.
        check(unsafe { libc::openpty(&mut master, &mut slave, none, none.cast(), none.cast()) })?;
        // SAFETY: fresh descriptors that nobody else owns.
        let (host, before) = unsafe { (File::from_raw_fd(master), File::from_raw_fd(slave)) };
        let path = std::fs::read_link(format!("/proc/self/fd/{}", before.as_raw_fd()))?;
        Ok(Line { host, before, path })
    }

    /// The agent's end, which waits, but not for ever.
    fn agent(path: &Path) -> io::Result<UnixStream> {
        let stream = UnixStream::from(open_port(path)?);
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(stream)
    }

    fn why(path: &Path) -> String {
        open_port(path)
            .err()
            .map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn a_serial_line_is_raw_and_tells_that_its_other_side_left() -> Outcome {
        let Line {
            mut host,
            before,
            path,
        } = line()?;
        let mut agent = agent(&path)?;
        drop(before);
        host.write_all(b"a\x03\r\n")?;
        let mut heard = [0; 4];
        agent.read_exact(&mut heard)?;
        assert_eq!(&heard, b"a\x03\r\n");
        agent.write_all(b"b\n")?;
        let mut told = [0; 2];
        host.read_exact(&mut told)?;
        assert_eq!(&told, b"b\n");
        drop(host);
        assert_eq!(agent.read(&mut heard)?, 1);
        assert_eq!(heard[0], 0xff);
        Ok(())
    }

    #[test]
    fn whoever_had_a_serial_line_open_has_it_no_more() -> Outcome {
        let Line {
            mut host,
            mut before,
            path,
        } = line()?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        chown(&path, Some(65534), None)?;
        before.write_all(b"forged")?;
        let mut forged = [0; 6];
        host.read_exact(&mut forged)?;
        let mut agent = agent(&path)?;
        let status = std::fs::metadata(&path)?;
        assert_eq!((status.uid(), status.mode() & 0o7777), (0, 0o600));
        host.write_all(b"secret\n")?;
        let mut bytes = [0; 7];
        agent.read_exact(&mut bytes)?;
        assert_eq!(&bytes, b"secret\n");
        assert_eq!(before.read(&mut bytes)?, 0);
        assert!(
            before
                .write(b"x")
                .is_err_and(|error| error.raw_os_error() == Some(libc::EIO))
        );
        let byte = 0_u8;
        // SAFETY: the byte is read before the call returns.
        let injected =
            check(unsafe { libc::ioctl(before.as_raw_fd(), libc::TIOCSTI, &raw const byte) });
        assert!(injected.is_err());
        Ok(())
    }

    #[test]
    fn what_waited_on_a_serial_line_before_it_was_had_alone_is_no_request() -> Outcome {
        let Line {
            mut host,
            before,
            path,
        } = line()?;
        for byte in b"forged\n" {
            // SAFETY: the byte is read before the call returns.
            check(unsafe { libc::ioctl(before.as_raw_fd(), libc::TIOCSTI, byte) })?;
        }
        let mut agent = agent(&path)?;
        host.write_all(b"asked\n")?;
        let mut heard = [0; 6];
        agent.read_exact(&mut heard)?;
        assert_eq!(&heard, b"asked\n");
        Ok(())
    }

    #[test]
    fn a_device_that_is_no_terminal_is_refused_unless_it_is_roots_alone_and_stays_as_it_is()
    -> Outcome {
        let scratch = Scratch::make("device")?;
        let device = scratch.join("port");
        // The same as /dev/null, under a name of ours.
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &device,
            FileType::CharacterDevice,
            PRIVATE,
            rustix::fs::makedev(1, 3),
        )?;
        for (user, mode) in [(0, 0o640), (0, 0o606), (65534, 0o600)] {
            std::fs::set_permissions(&device, Permissions::from_mode(mode))?;
            chown(&device, Some(user), None)?;
            let reason = why(&device);
            assert!(reason.starts_with("others may open it (user "), "{reason}");
            let after = std::fs::metadata(&device)?;
            assert_eq!((after.uid(), after.mode() & 0o777), (user, mode));
        }
        chown(&device, Some(0), None)?;
        // It got as far as waiting for it, which /dev/null cannot be.
        assert_eq!(why(&device), "Operation not permitted (os error 1)");
        Ok(())
    }

    #[test]
    fn what_stands_for_other_terminals_is_refused_before_it_is_touched() -> Outcome {
        for path in ["/dev/tty", "/dev/ptmx", "/dev/console", "/dev/tty0"].map(Path::new) {
            if !path.exists() {
                continue;
            }
            let mode = std::fs::metadata(path)?.mode();
            // In a container some of them are links to a terminal of its own.
            if std::fs::symlink_metadata(path)?.is_symlink() {
                continue;
            }
            assert!(
                why(path).starts_with("it stands for other terminals"),
                "{}",
                path.display()
            );
            assert_eq!(std::fs::metadata(path)?.mode(), mode);
        }
        Ok(())
    }

    #[test]
    fn a_link_of_another_user_does_not_choose_the_device() -> Outcome {
        let Line { path, .. } = &line()?;
        let scratch = Scratch::make("link")?;
        let link = scratch.join("port");
        symlink(path, &link)?;
        std::os::unix::fs::lchown(&link, Some(65534), None)?;
        let reason = why(&link);
        assert!(reason.contains("belongs to user 65534"), "{reason}");
        Ok(())
    }

    #[test]
    fn what_is_no_character_device_is_no_port() {
        assert_eq!(why(Path::new("/etc/passwd")), "it is no character device");
    }

    #[test]
    fn nobody_else_opens_a_serial_line_that_the_agent_has() -> Outcome {
        let Line { path, .. } = &line()?;
        let _agent = agent(path)?;
        // Root may, so another user tries.
        let opened = std::process::Command::new("setpriv")
            .args(["--reuid=65534", "--clear-groups", "cat"])
            .arg(path)
            .output()?;
        assert!(!opened.status.success());
        // Root without that privilege is kept out by the mark of exclusive use.
        let opened = std::process::Command::new("setpriv")
            .args(["--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "cat"])
            .arg(path)
            .output()?;
        assert!(!opened.status.success());
        assert!(String::from_utf8_lossy(&opened.stderr).contains("busy"));
        assert!(OpenOptions::new().read(true).open(path).is_ok());
        Ok(())
    }
}
