package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services/all"
)

func TestDevFolderIsOneProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first, err := openDevFolder(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openDevFolder(dir, false); err == nil || !strings.Contains(err.Error(), "another chandler dev runs on this folder") {
		t.Errorf("a second dev on the folder: %v", err)
	}
	shared, err := openDevFolder(dir, true)
	if err != nil {
		t.Fatalf("an operator's verb beside a dev: %v", err)
	}
	if shared.lock != nil {
		t.Error("the verb holds the lock that the dev has")
	}
	first.close()
	again, err := openDevFolder(dir, false)
	if err != nil {
		t.Fatalf("after the first ended: %v", err)
	}
	again.close()
}

func TestDevFolderRemembers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	f, err := openDevFolder(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	password := f.kept.Password
	if err := f.write(); err != nil {
		t.Fatal(err)
	}
	key, err := f.sealedKeyFile()
	if err != nil {
		t.Fatal(err)
	}
	sealed, _ := os.ReadFile(key)
	f.close()

	f, err = openDevFolder(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if f.kept.Password != password || password == "" {
		t.Errorf("the password changed from %q to %q", password, f.kept.Password)
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
			t.Errorf("%s: %v, %v; it holds secrets and must be the owner's alone", name, info.Mode(), err)
		}
	}
}

// Bindings whose credentials another store has cannot be fetched, and unbinding
// them would leave their secrets where they are.
func TestDevFolderKeepsItsCredentialStore(t *testing.T) {
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
			f := &devFolder{dir: "data", kept: devSettings{CredentialStore: c.before, Environment: map[string]string{}}}
			if c.private != "" {
				f.kept.Environment["VAULT_ADDR"] = c.private
			}
			err := f.checkCredentialStore(c.bindings)
			if refused := isUsage(err) && strings.Contains(err.Error(), c.before); refused != c.refused || refused != (err != nil) {
				t.Errorf("got %v, want refused: %v", err, c.refused)
			}
		})
	}
}

func TestDevFolderFaults(t *testing.T) {
	if _, err := openDevFolder("", false); !isUsage(err) {
		t.Errorf("an empty name, which must not mean the working directory: %v", err)
	}
	if _, err := openDevFolder(filepath.Join(t.TempDir(), "none"), true); !isUsage(err) || !strings.Contains(err.Error(), "there is no such folder") {
		t.Errorf("a verb on no folder: %v", err)
	}
	dir := t.TempDir()
	f, err := openDevFolder(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.settings(); !isUsage(err) || !strings.Contains(err.Error(), "nothing was ever started") {
		t.Errorf("a verb on an empty folder: %v", err)
	}
	f.close()
	if err := os.WriteFile(filepath.Join(dir, "settings.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openDevFolder(dir, false); err == nil || !strings.Contains(err.Error(), "remove the folder to start anew") {
		t.Errorf("torn settings: %v", err)
	}
}

func TestDevCatalog(t *testing.T) {
	t.Chdir(t.TempDir())
	f, err := openDevFolder("data", false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	path, err := f.catalogFile("")
	if err != nil {
		t.Fatal(err)
	}
	shipped, err := all.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(path); string(text) != string(shipped) {
		t.Error("without a catalog.yml it is not the binary's own that is served")
	}
	before, _ := os.Stat(path)
	if _, err := f.catalogFile(""); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.Stat(path); !after.ModTime().Equal(before.ModTime()) {
		t.Error("the same catalog was written again, which changes Last-Modified")
	}
	if err := os.WriteFile("catalog.yml", []byte("services: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	here, _ := filepath.Abs("catalog.yml")
	if path, _ = f.catalogFile(""); path != here {
		t.Errorf("got %s, want the one in the working directory", path)
	}
}
