package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/all"
)

// devFolder is the folder of a chandler dev: the private servers' data, and
// what the process has to remember. All of it is the owner's alone.
type devFolder struct {
	dir  string
	lock *os.File // nil where another process holds the folder
	kept devSettings
	// functions is the functions' database, for the start of their runtime.
	functions string
}

// devSettings is what a folder remembers from one start to the next.
type devSettings struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	StatePassword string `json:"state_password"`
	AdminPassword string `json:"admin_password"`
	// FunctionsPassword is missing in folders of versions without functions.
	FunctionsPassword string `json:"functions_password"`
	// OperatorPassword is missing in folders of versions without operators.
	OperatorPassword string `json:"operator_password"`
	// CredentialStore is where the last start kept credentials: sealedStore,
	// privateVault, or the address of another Vault.
	CredentialStore string `json:"credential_store"`
	// Running is how the operator's verbs reach what a running dev started;
	// DatabaseURL is empty before the first start.
	DatabaseURL string            `json:"database_url"`
	Catalog     string            `json:"catalog"`
	Environment map[string]string `json:"environment"`
	// Only are the types of backends that the last start was told to serve;
	// empty: all that are installed.
	Only []string `json:"only,omitempty"`
	// Without are the types of backends that it did not serve.
	Without []string `json:"without,omitempty"`
}

// openDevFolder opens a folder, or makes it. Where another process runs on it,
// share says whether that is as well.
func openDevFolder(dir string, share bool) (*devFolder, error) {
	if dir == "" { // which filepath.Abs takes for the working directory
		return nil, usagef("--data is empty: name the folder of the servers' data")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	f := &devFolder{dir: dir}
	if !share {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("--data: %w", err)
		}
		if err := letServersPass(dir); err != nil {
			return nil, err
		}
	}
	if f.lock, err = lockFile(filepath.Join(dir, "lock")); errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("--data %s: there is no such folder; 'chandler dev --data %s' makes it", dir, dir)
	} else if err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	if f.lock == nil && !share {
		return nil, usagef("--data %s: another chandler dev runs on this folder; stop it, or name another folder", dir)
	}
	if err := f.read(); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// letServersPass lets the unprivileged user that root's servers run as through
// the folder to its own folders below. Nothing else in it can be read or listed.
func letServersPass(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // see above
		return fmt.Errorf("--data: %w", err)
	}
	return nil
}

// lockFile locks a file for as long as the process lives; nil means that another
// process has it.
func lockFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return file, nil
	}
	_ = file.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, nil
	}
	return nil, err
}

func (f *devFolder) close() {
	if f.lock != nil {
		_ = f.lock.Close()
	}
}

func (f *devFolder) path(name string) string { return filepath.Join(f.dir, name) }

func (f *devFolder) read() error {
	f.kept = devSettings{
		Username: "chandler", Password: rand.Text(), StatePassword: rand.Text(), AdminPassword: rand.Text(), FunctionsPassword: rand.Text(),
		OperatorPassword: rand.Text(),
	}
	text, err := os.ReadFile(f.path("settings.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	if err := json.Unmarshal(text, &f.kept); err != nil {
		return fmt.Errorf("%s: %w; remove the folder to start anew", f.path("settings.json"), err)
	}
	f.kept.Only, f.kept.Without = currentBackends(f.kept.Only), currentBackends(f.kept.Without)
	return nil
}

// write replaces the settings in one step, so that a crash leaves the old or the
// new ones.
func (f *devFolder) write() error {
	text, err := json.MarshalIndent(f.kept, "", "  ")
	if err != nil {
		return err
	}
	return f.writeFile("settings.json", text)
}

func (f *devFolder) writeFile(name string, data []byte) error {
	next := f.path(name + ".new")
	if err := os.WriteFile(next, data, 0o600); err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	return os.Rename(next, f.path(name))
}

// sealedKeyFile returns the file of the key that seals credentials, and makes it
// at the first start.
func (f *devFolder) sealedKeyFile() (string, error) {
	path := f.path("sealed.key")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	key := base64.StdEncoding.EncodeToString(services.RandomKey())
	return path, f.writeFile("sealed.key", []byte(key+"\n"))
}

// catalogFile returns the catalog to serve: the one that is named, the one in
// the working directory, or the binary's own.
func (f *devFolder) catalogFile(named string) (string, error) {
	if named != "" {
		return filepath.Abs(named)
	}
	if _, err := os.Stat("catalog.yml"); err == nil {
		return filepath.Abs("catalog.yml")
	}
	shipped, err := all.Catalog()
	if err != nil {
		return "", err
	}
	path := f.path("catalog.yml")
	if have, err := os.ReadFile(path); err == nil && string(have) == string(shipped) {
		return path, nil // its time stays, and with it Last-Modified
	}
	return path, f.writeFile("catalog.yml", shipped)
}

// lookup returns the environment with what the folder's servers add to it, as they
// are now.
func (f *devFolder) lookup() func(name string) (string, bool) {
	environment := maps.Clone(f.kept.Environment)
	return func(name string) (string, bool) {
		if v, ok := environment[name]; ok {
			return v, true
		}
		return os.LookupEnv(name)
	}
}

// settings makes the settings of what the folder's servers serve.
func (f *devFolder) settings() (settings, error) {
	if f.kept.DatabaseURL == "" {
		return settings{}, usagef("--data %s: nothing was ever started on this folder", f.dir)
	}
	s, err := readSettings(f.lookup())
	s.Without = f.kept.Without
	return s, err
}

// Credential stores that have no address of their own to tell them by.
const (
	sealedStore  = "the state database"
	privateVault = "the folder's own Vault"
)

// credentialStore is where credentials are kept as things stand.
func (f *devFolder) credentialStore() string {
	if f.kept.Environment["VAULT_ADDR"] != "" {
		return privateVault
	}
	if address := os.Getenv("VAULT_ADDR"); address != "" {
		return address
	}
	return sealedStore
}

// checkCredentialStore refuses to go on with another store than the bindings'
// credentials are in: none could be read, and unbinding would leave them behind.
func (f *devFolder) checkCredentialStore(bindings int) error {
	before, now := f.kept.CredentialStore, f.credentialStore()
	if before == "" || before == now || bindings == 0 {
		return nil
	}
	return usagef("--data %s: the credentials of %d binding(s) are in %s, and this start looks for them in %s; "+
		"start as before (--vault and VAULT_ADDR say where they are), or delete the bindings first", f.dir, bindings, before, now)
}

// withServers runs do while the folder's servers run: those of a chandler dev on
// it, or else started for the purpose; its own Vault only where do needs
// credentials.
func (f *devFolder) withServers(ctx context.Context, credentials bool, do func() error) error {
	if f.lock == nil || f.kept.DatabaseURL == "" {
		return do()
	}
	servers, err := f.start(ctx, devOptions{
		catalog: f.kept.Catalog, only: f.kept.Only, vault: credentials && f.kept.CredentialStore == privateVault, progress: os.Stderr,
		companions: companions(),
	})
	if err != nil {
		return err
	}
	err = do()
	return errors.Join(err, servers.stop(time.Now().Add(stopTime)))
}
