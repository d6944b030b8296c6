//! Marker files below a path.

use std::fs;

use turnmill_markers::ErrorKind;
use turnmill_markers::files::read_path;

#[test]
fn a_directory_is_read_recursively() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let kind = |name: &str| read_path(&path.join(name)).unwrap_err()[0].kind;
    assert_eq!(kind("nothing"), ErrorKind::PathNotFound);
    assert_eq!(kind(""), ErrorKind::NoYamlFiles);
    fs::create_dir_all(path.join("b/c")).unwrap();
    for name in ["a.yml", "b/c/d.yaml", "b/e.json", "f.txt"] {
        fs::write(path.join(name), name).unwrap();
    }
    assert_eq!(kind("f.txt"), ErrorKind::WrongFileEnding);
    #[cfg(unix)]
    std::os::unix::fs::symlink(path, path.join("b/loop")).unwrap();
    let files = read_path(path).unwrap();
    let names: Vec<_> = files.iter().map(|file| String::from_utf8_lossy(&file.bytes).into_owned()).collect();
    assert_eq!(names, ["a.yml", "b/c/d.yaml"]);
    assert_eq!(read_path(&path.join("a.yml")).unwrap().len(), 1);
}
