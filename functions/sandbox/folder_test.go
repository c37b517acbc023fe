package sandbox

import (
	"os"
	"path/filepath"
	"testing"

	experimentalsys "github.com/tetratelabs/wazero/experimental/sys"
)

// However wazero spells a path below the folder, it is found, and what is outside
// is not.
func TestFolderPaths(t *testing.T) {
	outside := t.TempDir()
	folder := filepath.Join(outside, "folder")
	must(t, os.MkdirAll(filepath.Join(folder, "shelf"), 0o750),
		os.WriteFile(filepath.Join(folder, "shelf", "book"), nil, 0o600), os.WriteFile(filepath.Join(outside, "secret"), nil, 0o600))
	system, err := openFolder(mountOf(t, folder, "/data", false), &openFiles{left: 100})
	must(t, err)
	defer func() { must(t, system.root.Close()) }()
	for path, want := range map[string]experimentalsys.Errno{
		"": 0, ".": 0, "/": 0, "/.": 0, "shelf": 0, "shelf/": 0, "/shelf": 0, "./shelf": 0,
		"shelf/book": 0, "/shelf/book": 0, "./shelf/book": 0, "shelf/../shelf/book": 0,
		"/nothing":  experimentalsys.ENOENT,
		"../secret": experimentalsys.EPERM, "/../secret": experimentalsys.EPERM, "shelf/../../secret": experimentalsys.EPERM,
		filepath.Join(outside, "secret"): experimentalsys.ENOENT,
	} {
		file, errno := system.OpenFile(path, experimentalsys.O_RDONLY, 0)
		if errno != want {
			t.Errorf("%q: %d, want %d", path, errno, want)
		}
		if errno == 0 {
			_ = file.Close()
		}
	}
}
