// Package workspace is the folder of a chandler dev: private servers with their data, and the
// settings by which a broker and the operator commands find them.
package workspace

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
	"slices"
	"syscall"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/all"
)

// UsageError is an error that the caller can fix: an invalid folder or option.
type UsageError struct{ error }

func (u UsageError) Unwrap() error { return u.error }

func usagef(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// Folder contains the data of private servers, and the settings of their last start. Only the
// owner can read it.
type Folder struct {
	Dir      string
	Settings Settings

	lock         *os.File // nil if another process holds the folder
	functionsURL string   // the functions' database, for the start of their runtime
}

// Settings are what a folder stores from one start to the next.
type Settings struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	StatePassword string `json:"state_password"`
	AdminPassword string `json:"admin_password"`
	// FunctionsPassword is missing in folders of versions without functions.
	FunctionsPassword string `json:"functions_password"`
	// OperatorPassword is missing in folders of versions without operators.
	OperatorPassword string `json:"operator_password"`
	// BackupsPassword is missing in folders of versions without backups.
	BackupsPassword string `json:"backups_password"`
	// CredentialStore is the last start's: sealedStore, privateVault, or the address of
	// another Vault.
	CredentialStore string `json:"credential_store"`
	// The operator commands find the servers by DatabaseURL, Catalog and Environment.
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

// Open opens a folder, or makes it. share opens a folder even if another process uses it.
func Open(dir string, share bool) (*Folder, error) {
	if dir == "" { // which filepath.Abs takes for the working directory
		return nil, usagef("--data is empty: name the folder of the servers' data")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	f := &Folder{Dir: dir}
	if !share {
		if err := makeFolder(dir); err != nil {
			return nil, fmt.Errorf("--data: %w", err)
		}
	}
	if f.lock, err = lockFile(f.Path("lock")); errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("--data %s: the folder does not exist; 'chandler dev --data %s' makes it", dir, dir)
	} else if err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	if f.lock == nil && !share {
		return nil, usagef("--data %s: another chandler dev runs on this folder; stop it, or name another folder", dir)
	}
	if err := f.read(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// makeFolder makes a folder. The unprivileged user of root's servers can pass it to reach its
// own folders, but cannot read it.
func makeFolder(dir string) error {
	err := os.MkdirAll(dir, 0o700)
	if err == nil && os.Geteuid() == 0 {
		err = os.Chmod(dir, 0o711) //nolint:gosec // see above
	}
	return err
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

// Close releases the folder.
func (f *Folder) Close() {
	if f.lock != nil {
		_ = f.lock.Close()
	}
}

// Path is the path of a file in the folder.
func (f *Folder) Path(name string) string { return filepath.Join(f.Dir, name) }

func (f *Folder) read() error {
	f.Settings = Settings{
		Username: "chandler", Password: rand.Text(), StatePassword: rand.Text(), AdminPassword: rand.Text(), FunctionsPassword: rand.Text(),
		OperatorPassword: rand.Text(), BackupsPassword: rand.Text(),
	}
	text, err := os.ReadFile(f.Path("settings.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	if err := json.Unmarshal(text, &f.Settings); err != nil {
		return fmt.Errorf("%s: %w; remove the folder to start anew", f.Path("settings.json"), err)
	}
	f.Settings.Only, f.Settings.Without = currentBackends(f.Settings.Only), currentBackends(f.Settings.Without)
	return nil
}

// write replaces the settings atomically.
func (f *Folder) write() error {
	text, err := json.MarshalIndent(f.Settings, "", "  ")
	if err != nil {
		return err
	}
	return f.writeFile("settings.json", text)
}

func (f *Folder) writeFile(name string, data []byte) error {
	next := f.Path(name + ".new")
	if err := os.WriteFile(next, data, 0o600); err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	return os.Rename(next, f.Path(name))
}

// sealedKeyFile returns the file of the key that seals credentials, which the first start
// makes.
func (f *Folder) sealedKeyFile() (string, error) {
	path := f.Path("sealed.key")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	key := base64.StdEncoding.EncodeToString(services.RandomKey())
	return path, f.writeFile("sealed.key", []byte(key+"\n"))
}

// catalogFile returns the catalog to serve: the named one, or else that in the working
// directory, or else the binary's own, which alone has the plans on a cloud, too.
func (f *Folder) catalogFile(o Options) (string, error) {
	if o.Catalog != "" {
		return filepath.Abs(o.Catalog)
	}
	var types []string
	if o.OpenStack {
		types = everyBackend()
	} else if _, err := os.Stat("catalog.yml"); err == nil {
		return filepath.Abs("catalog.yml")
	}
	shipped, err := all.Catalog(types...)
	if err != nil {
		return "", err
	}
	path := f.Path("catalog.yml")
	if have, err := os.ReadFile(path); err == nil && slices.Equal(have, shipped) {
		return path, nil // unchanged, and so is Last-Modified
	}
	return path, f.writeFile("catalog.yml", shipped)
}

// Lookup returns the environment with the variables of the folder's servers.
func (f *Folder) Lookup() (func(name string) (string, bool), error) {
	if f.Settings.DatabaseURL == "" {
		return nil, usagef("--data %s: nothing was ever started on this folder", f.Dir)
	}
	environment := maps.Clone(f.Settings.Environment)
	return func(name string) (string, bool) {
		if v, ok := environment[name]; ok {
			return v, true
		}
		return os.LookupEnv(name)
	}, nil
}

// The credential stores that have no address.
const (
	sealedStore  = "the state database"
	privateVault = "the folder's own Vault"
)

// credentialStore is the credential store of this start.
func (f *Folder) credentialStore() string {
	if f.Settings.Environment["VAULT_ADDR"] != "" {
		return privateVault
	}
	if address := os.Getenv("VAULT_ADDR"); address != "" {
		return address
	}
	return sealedStore
}

// CheckCredentialStore rejects a credential store other than the one that has the credentials
// of the state's bindings: nobody could read them, and unbinding would leave them behind.
func (f *Folder) CheckCredentialStore(bindings int) error {
	before, now := f.Settings.CredentialStore, f.credentialStore()
	if before == "" || before == now || bindings == 0 {
		return nil
	}
	return usagef("--data %s: the credentials of %d binding(s) are in %s, and this start looks for them in %s; "+
		"start as before (--vault and VAULT_ADDR say where they are), or delete the bindings first", f.Dir, bindings, before, now)
}

// NeedsVault says whether bindings' credentials are in the folder's own Vault, and the environment
// names no other.
func (f *Folder) NeedsVault() bool {
	return f.Settings.CredentialStore == privateVault && os.Getenv("VAULT_ADDR") == ""
}

// UseCredentialStore stores which credential store this start uses, if CheckCredentialStore
// accepts it.
func (f *Folder) UseCredentialStore(bindings int) error {
	if err := f.CheckCredentialStore(bindings); err != nil {
		return err
	}
	f.Settings.CredentialStore = f.credentialStore()
	return f.write()
}

// WithServers calls do while the folder's servers run: those of another process, or else
// servers that it starts, with the folder's Vault only if do needs credentials.
func (f *Folder) WithServers(ctx context.Context, credentials bool, do func() error) error {
	if f.lock == nil || f.Settings.DatabaseURL == "" {
		return do()
	}
	servers, err := f.Start(ctx, Options{
		Catalog: f.Settings.Catalog, Only: f.Settings.Only, Progress: os.Stderr,
		Vault: credentials && f.Settings.CredentialStore == privateVault,
	})
	if err != nil {
		return err
	}
	return errors.Join(do(), servers.Stop(time.Now().Add(StopTime)))
}
