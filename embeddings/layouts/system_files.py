"""Files and folders that operating systems, file servers and tools leave among images: never data."""

_FOLDERS = {
    "macOS": "__macosx .appledouble .trashes .spotlight-v100 .fseventsd .temporaryitems .documentrevisions-v100 "
    ".appledb .appledesktop",
    "Windows": "$recycle.bin recycler recycled",
    "Linux": "lost+found .trash .thumbnails .cache .xvpics",
    "a file server": "@eadir @recycle @recently-snapshot @tmp #recycle #snapshot .snapshot .snapshots .zfs .recycle "
    ".@__thumb",
    "a notebook or editor": ".ipynb_checkpoints __pycache__ .vscode .idea",
    "version control": ".git .hg .svn .dvc .bzr",
    "a synchronising program": ".dropbox.cache .stfolder .stversions .sync .tmp.drivedownload",
}
_SPACED_FOLDERS = {
    "system volume information": "Windows",
    "network trash folder": "macOS",
    "temporary items": "macOS",
}
_FILES = {
    "macOS": ".ds_store .localized .volumeicon.icns",
    "Windows": "thumbs.db ehthumbs.db ehthumbs_vista.db desktop.ini",
    "Linux": ".directory",
    "a file server": ".synologyworkingdirectory",
    "a synchronising program": ".dropbox",
}
_FOLDER_MAKER = {name: maker for maker, names in _FOLDERS.items() for name in names.split(" ")} | _SPACED_FOLDERS
_FILE_MAKER = {name: maker for maker, names in _FILES.items() for name in names.split(" ")}
_BEGINNINGS = (
    ("._", "macOS"),  # AppleDouble: the resource fork of the file of that name
    (".nfs0", "a file server"),
    (".fuse_hidden", "Linux"),
    ("~$", "an office program"),
    (".~lock.", "an office program"),
)


def system_folder(name: str) -> str:
    """Return who made a folder of this name that holds no data, empty when it is an ordinary one.

    >>> system_folder("@eaDir"), system_folder(".Trash-1000"), system_folder("camera")
    ('a file server', 'Linux', '')
    """
    small = name.lower()
    return "Linux" if small.startswith(".trash-") else _FOLDER_MAKER.get(small, "")


def system_file(name: str) -> str:
    """Return who made a file of this name that is no data, empty when it is an ordinary one.

    >>> system_file("._x.png"), system_file("Thumbs.db"), system_file("x.png")
    ('macOS', 'Windows', '')
    """
    small = name.lower()
    beginning = next((maker for start, maker in _BEGINNINGS if small.startswith(start)), "")
    return _FILE_MAKER.get(small, "") or beginning or ("macOS" if name == "Icon\r" else "")


def system_path(path: str) -> str:
    """Return what is counted of a path inside an archive or a folder when it is no data, empty when it is.

    Args:
        path: relative, with forward slashes; the folders it lies in are looked at, too.

    >>> system_path("__MACOSX/a/x.png")
    '__MACOSX: a folder of macOS, not data'
    """
    *folders, name = path.split("/")
    for folder in folders:
        if maker := system_folder(folder):
            return f"{folder}: a folder of {maker}, not data"
    if maker := system_file(name):
        return f"{'._*' if name.startswith('._') else name[:40]}: a file of {maker}, not data"
    return ""
