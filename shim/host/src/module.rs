//! The guest's module, before it is started.

use wasmtime::{Engine, ExternType, InstancePre, Module};

use crate::calls;
use crate::error::Error;
use crate::host::ModuleSource;
use crate::instance::Instance;
use crate::limits;
use crate::producer;
use crate::settings::Settings;

/// How each module begins. A component has another version after it.
const MAGIC: &[u8] = b"\0asm";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// Compiles the module, and links it with the calls.
pub(crate) fn prepare(
    engine: &Engine,
    source: ModuleSource,
    settings: &mut Settings,
) -> Result<InstancePre<Instance>, Error> {
    let (shown, bytes) = read(source)?;
    check_format(&shown, &bytes)?;
    settings.nonblock |= producer::is_go(&bytes);
    let module = Module::new(engine, &bytes);
    let module = module.map_err(|error| Error::with(format!("can't compile {shown}"), error))?;
    let linker = calls::linker(engine);
    let linker = linker.map_err(|error| Error::with("can't define the calls", error))?;
    let pre = linker.instantiate_pre(&module);
    let pre =
        pre.map_err(|error| Error::with("the module imports what preview 1 doesn't have", error))?;
    check_start(&module)?;
    limits::check_initial(&module, settings.memory)?;
    Ok(pre)
}

/// The module's bytes, and what messages call it.
fn read(source: ModuleSource) -> Result<(String, Vec<u8>), Error> {
    match source {
        ModuleSource::Bytes(bytes) => Ok(("the module".to_owned(), bytes)),
        ModuleSource::File(path) => {
            let shown = path.display().to_string();
            let bytes = std::fs::read(path);
            let bytes =
                bytes.map_err(|error| Error::from_io(format!("can't read {shown}"), error))?;
            Ok((shown, bytes))
        }
    }
}

fn check_format(shown: &str, bytes: &[u8]) -> Result<(), Error> {
    if bytes.starts_with(COMPONENT) {
        return Err(Error::new(format!(
            "{shown} is a component of WASI 0.2, which this host doesn't run: use wasmtime, or build it for \
             wasm32-wasip1"
        )));
    }
    if !bytes.starts_with(MAGIC) {
        return Err(Error::new(format!(
            "{shown} is not a WebAssembly module: build the program for wasm32-wasip1"
        )));
    }
    Ok(())
}

fn check_start(module: &Module) -> Result<(), Error> {
    match module.get_export("_start") {
        Some(ExternType::Func(start))
            if start.params().len() == 0 && start.results().len() == 0 =>
        {
            Ok(())
        }
        Some(_) => Err(Error::new(
            "the module's _start isn't a function without parameters and results, as in a program",
        )),
        None => Err(Error::new(
            "the module exports no function _start: it is a library, or not a WASI module",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_go_module_is_recognized_wherever_it_is_from() {
        let mut bytes = wat::parse_str(r#"(module (func (export "_start")))"#).expect("a module");
        let path = std::env::temp_dir().join(format!("wasip1-host-go-{}", std::process::id()));
        for is_go in [false, true] {
            std::fs::write(&path, &bytes).expect("a file");
            for source in [
                ModuleSource::Bytes(bytes.clone()),
                ModuleSource::File(path.clone()),
            ] {
                let mut settings = Settings::default();
                let prepared = prepare(&Engine::default(), source, &mut settings);
                prepared
                    .map_err(|error| error.to_string())
                    .expect("a module");
                assert_eq!(settings.nonblock, is_go);
            }
            bytes.extend(b"\0\x0b\x0ago:buildid");
        }
        std::fs::remove_file(path).expect("a file");
    }
}
