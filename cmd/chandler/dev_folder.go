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

// devFolder is the folder of a chandler dev: the private servers' data, and the settings
// of the last start. Only the owner can read it.
type devFolder struct {
	dir  string
	lock *os.File // nil if another process holds the folder
	kept devSettings
	// functions is the functions' database, for the start of their runtime.
	functions string
}

// devSettings are what a folder keeps from one start to the next.
type devSettings struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	StatePassword string `json:"state_password"`
	AdminPassword string `json:"admin_password"`
	// FunctionsPassword is missing in folders of versions without functions.
	FunctionsPassword string `json:"functions_password"`
	// OperatorPassword is missing in folders of versions without operators.
	OperatorPassword string `json:"operator_password"`
	// CredentialStore is the last start's: sealedStore, privateVault, or the address of
	// another Vault.
	CredentialStore string `json:"credential_store"`
	// With DatabaseURL, Catalog and Environment the operator's verbs reach the servers.
	// DatabaseURL is empty before the first start.
	DatabaseURL string            `json:"database_url"`
	Catalog     string            `json:"catalog"`
	Environment map[string]string `json:"environment"`
	// Only are the types of backends of the last start's --only; empty: all that are
	// installed.
	Only []string `json:"only,omitempty"`
	// Without are the types of backends that it did not serve.
	Without []string `json:"without,omitempty"`
}

// openDevFolder opens a folder, or makes it. share opens a folder, too, on which another
// process runs.
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

// letServersPass gives the unprivileged user of root's servers access to its own folders
// below dir, and to nothing else in it.
func letServersPass(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // see above
		return fmt.Errorf("--data: %w", err)
	}
	return nil
}

// lockFile locks a file until the process ends; nil if another process has the lock.
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

// write replaces the settings atomically.
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

// sealedKeyFile returns the file of the key that seals credentials; the first start makes
// it.
func (f *devFolder) sealedKeyFile() (string, error) {
	path := f.path("sealed.key")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	key := base64.StdEncoding.EncodeToString(services.RandomKey())
	return path, f.writeFile("sealed.key", []byte(key+"\n"))
}

// catalogFile returns the catalog to serve: the named one, or else the one in the working
// directory, or else the binary's own.
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
		return path, nil // unchanged, and so is Last-Modified
	}
	return path, f.writeFile("catalog.yml", shipped)
}

// lookup returns the environment with the variables of the folder's servers.
func (f *devFolder) lookup() func(name string) (string, bool) {
	environment := maps.Clone(f.kept.Environment)
	return func(name string) (string, bool) {
		if v, ok := environment[name]; ok {
			return v, true
		}
		return os.LookupEnv(name)
	}
}

// settings are those of a broker on the folder's servers.
func (f *devFolder) settings() (settings, error) {
	if f.kept.DatabaseURL == "" {
		return settings{}, usagef("--data %s: nothing was ever started on this folder", f.dir)
	}
	s, err := readSettings(f.lookup())
	s.Without = f.kept.Without
	return s, err
}

// The credential stores that have no address.
const (
	sealedStore  = "the state database"
	privateVault = "the folder's own Vault"
)

// credentialStore is the credential store of this start.
func (f *devFolder) credentialStore() string {
	if f.kept.Environment["VAULT_ADDR"] != "" {
		return privateVault
	}
	if address := os.Getenv("VAULT_ADDR"); address != "" {
		return address
	}
	return sealedStore
}

// checkCredentialStore refuses a store other than the one that holds the bindings'
// credentials: none could be read, and unbinding would leave them behind.
func (f *devFolder) checkCredentialStore(bindings int) error {
	before, now := f.kept.CredentialStore, f.credentialStore()
	if before == "" || before == now || bindings == 0 {
		return nil
	}
	return usagef("--data %s: the credentials of %d binding(s) are in %s, and this start looks for them in %s; "+
		"start as before (--vault and VAULT_ADDR say where they are), or delete the bindings first", f.dir, bindings, before, now)
}

// withServers runs do while the folder's servers run: those of a running chandler dev, or
// else ones that it starts; its own Vault only if do needs credentials.
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
