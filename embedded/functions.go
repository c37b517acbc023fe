package embedded

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"syscall"
	"time"
)

const (
	functionsProgram   = "chandler-functions"
	functionsLog       = "functions.log"
	functionsKeyFile   = "functions.key"
	functionsTokenFile = "admin-token"
	functionsAdminPort = "admin-port"
	functionsCache     = "cache"
)

// FunctionsOptions says how a function runtime is to be run.
type FunctionsOptions struct {
	// Program is the path of a chandler-functions.
	Program string
	// Dir is the runtime's folder; it is made where it does not exist, and
	// belongs to the runtime alone. It holds the key that seals parameters.
	Dir string
	// DatabaseURL is the PostgreSQL database of the runtimes.
	DatabaseURL string
	// Port is where the API listens on loopback. 0: the port of the last start
	// on this folder, a free one at the first.
	Port int
	// Key seals parameters in the database, 32 bytes in base64: for several
	// runtimes on one database. Empty: the folder's own, made at the first
	// start.
	Key string
	// Env are further variables of the environment, such as
	// "FUNCTIONS_WORKERS=2".
	Env []string
	// Logger may be nil.
	Logger *slog.Logger
}

// Functions is a running function runtime (chandler-functions). All its
// methods are safe for concurrent use.
type Functions struct {
	*child
	options     FunctionsOptions
	program     string
	port, admin int
	key, token  string
}

// StartFunctions runs a runtime on the folder o.Dir until Stop, or until this
// process ends. Later starts go on with the folder's ports and key.
func StartFunctions(ctx context.Context, o FunctionsOptions) (*Functions, error) {
	c, err := newChild("function runtime", o.Dir, o.Logger)
	if err != nil {
		return nil, err
	}
	f := &Functions{child: c, options: o}
	if err := f.open(ctx, childParts{program: f.command, ready: f.ready, serving: f.tell}, f.fill); err != nil {
		return nil, err
	}
	return f, nil
}

// URL is where the API is, without a path.
func (f *Functions) URL() string { return "http://" + localAddress(f.port) }

// AdminURL is where the administration API, /metrics and /readyz are.
func (f *Functions) AdminURL() string { return "http://" + localAddress(f.admin) }

// Key is what seals parameters in the database.
func (f *Functions) Key() string { return f.key }

// AdminToken is accepted by the administration API. It is the folder's own.
func (f *Functions) AdminToken() string { return f.token }

// fill makes what the runtime needs in its folder, as far as it is not there.
func (f *Functions) fill(ctx context.Context) (err error) {
	if f.program, err = f.folder.placeProgram(f.options.Program, functionsProgram); err != nil {
		return err
	}
	if err := f.folder.makeDir(functionsCache); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// Again: a crash may have come between making it and giving it away.
	if err := f.folder.own(f.folder.path(functionsCache), 0o700); err != nil {
		return err
	}
	if f.port, err = f.folder.keptPort(ctx, portFile, f.options.Port, tryTCP); err != nil {
		return err
	}
	if f.admin, err = f.folder.keptPort(ctx, functionsAdminPort, 0, tryTCP); err != nil {
		return err
	}
	if f.key, err = f.keptSecret(functionsKeyFile, f.options.Key); err != nil {
		return err
	}
	f.token, err = f.keptSecret(functionsTokenFile, "")
	return err
}

// keptSecret is the secret in a file of the folder: the one that is given, or else
// the file's, which is made at the first start.
func (f *Functions) keptSecret(name, given string) (string, error) {
	if given == "" {
		kept, err := f.folder.readFile(name)
		if secret := strings.TrimSpace(string(kept)); err != nil || secret != "" {
			return secret, err
		}
		secret := make([]byte, 32)
		_, _ = rand.Read(secret) // never fails: crypto/rand.Read aborts the program instead
		given = base64.StdEncoding.EncodeToString(secret)
	}
	return given, f.folder.writeFile(name, []byte(given+"\n"))
}

func (f *Functions) command() program {
	return program{
		path: f.program, folder: f.folder, log: functionsLog,
		// Arguments are there for every user of the machine to read, the
		// environment is not.
		env: append([]string{
			"FUNCTIONS_DATABASE_URL=" + f.options.DatabaseURL,
			"FUNCTIONS_KEY_FILE=" + f.folder.childPath(functionsKeyFile),
			"FUNCTIONS_ADMIN_TOKEN_FILE=" + f.folder.childPath(functionsTokenFile),
			"FUNCTIONS_CACHE=" + f.folder.childPath(functionsCache),
			"FUNCTIONS_LISTEN=" + localAddress(f.port),
			"FUNCTIONS_ADMIN_LISTEN=" + localAddress(f.admin),
			"FUNCTIONS_API_HOST=" + f.URL(),
			"CHANDLER_LOG_FORMAT=text",
		}, f.options.Env...),
		polite: syscall.SIGTERM, orphaned: syscall.SIGKILL, // the database outlives it
	}
}

// ready says whether the runtime is.
func (f *Functions) ready(ctx context.Context, _ int) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.AdminURL()+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func (f *Functions) tell(ctx context.Context) error {
	f.logger.InfoContext(ctx, "functions runtime started", "folder", f.folder.root, "port", f.port)
	return nil
}
