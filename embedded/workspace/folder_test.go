package workspace

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services/all"
)

func isUsage(err error) bool {
	_, usage := errors.AsType[UsageError](err)
	return usage
}

func TestFolderIsOneProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first, err := Open(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, false); err == nil || !strings.Contains(err.Error(), "another chandler dev runs on this folder") {
		t.Errorf("a second dev on the folder: %v", err)
	}
	shared, err := Open(dir, true)
	if err != nil {
		t.Fatalf("an operator's verb beside a dev: %v", err)
	}
	if shared.lock != nil {
		t.Error("the verb holds the lock that the dev has")
	}
	first.Close()
	again, err := Open(dir, false)
	if err != nil {
		t.Fatalf("after the first ended: %v", err)
	}
	again.Close()
}

func TestFolderRemembers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	f, err := Open(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	password := f.Settings.Password
	if err := f.write(); err != nil {
		t.Fatal(err)
	}
	key, err := f.sealedKeyFile()
	if err != nil {
		t.Fatal(err)
	}
	sealed, _ := os.ReadFile(key)
	f.Close()

	f, err = Open(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Settings.Password != password || password == "" {
		t.Errorf("the password changed from %q to %q", password, f.Settings.Password)
	}
	if key, _ = f.sealedKeyFile(); key == "" {
		t.Fatal("no key")
	}
	if now, _ := os.ReadFile(key); string(now) != string(sealed) || len(sealed) == 0 {
		t.Error("the sealing key changed")
	}
	for _, name := range []string{"settings.json", "sealed.key"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v; it contains secrets, and only the owner may read it", name, info.Mode(), err)
		}
	}
}

// If the credentials of bindings are in another store, nobody can fetch them, and unbinding
// leaves them there.
func TestFolderKeepsItsCredentialStore(t *testing.T) {
	const other = "http://127.0.0.1:8200"
	for _, c := range []struct {
		name, before, private, address string
		bindings                       int
		refused                        bool
	}{
		{name: "first start", bindings: 0},
		{name: "sealed again", before: sealedStore, bindings: 1},
		{name: "its own Vault again, at another port", before: privateVault, private: "http://127.0.0.1:1", bindings: 1},
		{name: "another Vault again", before: other, address: other, bindings: 1},
		{name: "its own Vault before the one of the environment", before: privateVault, private: "http://127.0.0.1:1", address: other, bindings: 1},
		{name: "from sealed to Vault", before: sealedStore, private: "http://127.0.0.1:1", bindings: 1, refused: true},
		{name: "from Vault to sealed", before: other, bindings: 1, refused: true},
		{name: "from Vault to Vault", before: other, address: "http://127.0.0.1:8300", bindings: 1, refused: true},
		{name: "with nothing to lose", before: sealedStore, address: other, bindings: 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("VAULT_ADDR", c.address)
			f := &Folder{Dir: "data", Settings: Settings{CredentialStore: c.before, Environment: map[string]string{}}}
			if c.private != "" {
				f.Settings.Environment["VAULT_ADDR"] = c.private
			}
			err := f.CheckCredentialStore(c.bindings)
			if refused := isUsage(err) && strings.Contains(err.Error(), c.before); refused != c.refused || refused != (err != nil) {
				t.Errorf("got %v, want refused: %v", err, c.refused)
			}
		})
	}
}

func TestFolderFaults(t *testing.T) {
	if _, err := Open("", false); !isUsage(err) {
		t.Errorf("an empty name, which must not mean the working directory: %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none"), true); !isUsage(err) || !strings.Contains(err.Error(), "the folder does not exist") {
		t.Errorf("a verb on no folder: %v", err)
	}
	dir := t.TempDir()
	f, err := Open(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Lookup(); !isUsage(err) || !strings.Contains(err.Error(), "nothing was ever started") {
		t.Errorf("a verb on an empty folder: %v", err)
	}
	f.Close()
	if err := os.WriteFile(filepath.Join(dir, "settings.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, false); err == nil || !strings.Contains(err.Error(), "remove the folder to start anew") {
		t.Errorf("torn settings: %v", err)
	}
}

func TestCatalogFile(t *testing.T) {
	t.Chdir(t.TempDir())
	f, err := Open("data", false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	path, err := f.catalogFile(Options{})
	if err != nil {
		t.Fatal(err)
	}
	shipped, err := all.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(path); string(text) != string(shipped) {
		t.Error("without a catalog.yml, the binary's own is not served")
	}
	before, _ := os.Stat(path)
	if _, err := f.catalogFile(Options{}); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.Stat(path); !after.ModTime().Equal(before.ModTime()) {
		t.Error("an unchanged catalog was written again, which changes Last-Modified")
	}
	if err := os.WriteFile("catalog.yml", []byte("services: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	here, _ := filepath.Abs("catalog.yml")
	if path, _ = f.catalogFile(Options{}); path != here {
		t.Errorf("got %s, want the one in the working directory", path)
	}
}
