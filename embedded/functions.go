package embedded

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"time"
)

const (
	functionsProgram   = "chandler-functions"
	functionsKeyFile   = "functions.key"
	functionsTokenFile = "admin-token"
	functionsAdminPort = "admin-port"
	functionsCache     = "cache"
)

// FunctionsOptions are those of a function runtime.
type FunctionsOptions struct {
	// Program is the path of a chandler-functions.
	Program string
	// Dir is the runtime's folder, as in Options. It contains the key that seals parameters.
	Dir string
	// DatabaseURL is the PostgreSQL database of the runtimes.
	DatabaseURL string
	// Env are more variables of the environment, such as "FUNCTIONS_WORKERS=2".
	Env []string
}

// Functions is a running function runtime (chandler-functions). It is safe for concurrent
// use.
type Functions struct {
	child
	options    FunctionsOptions
	binary     string
	admin      int
	key, token string
}

// StartFunctions runs a runtime until Stop, or until this process ends.
func StartFunctions(ctx context.Context, o FunctionsOptions) (*Functions, error) {
	f := &Functions{options: o}
	f.title = "function runtime"
	return startServer(ctx, o.Dir, f)
}

// URL is the URL of the API, without a path.
func (f *Functions) URL() string { return "http://" + f.Address() }

// AdminURL is the URL of the administration API, /metrics and /readyz.
func (f *Functions) AdminURL() string { return "http://" + localAddress(f.admin) }

// Key seals parameters in the database.
func (f *Functions) Key() string { return f.key }

// AdminToken gives access to the administration API.
func (f *Functions) AdminToken() string { return f.token }

func (f *Functions) fill(ctx context.Context) (err error) {
	if f.binary, err = f.folder.placeProgram(f.options.Program, functionsProgram); err != nil {
		return err
	}
	if err := f.folder.makeDir(functionsCache); err != nil {
		return err
	}
	if f.admin, err = f.folder.storedPort(ctx, functionsAdminPort, tryTCP); err != nil {
		return err
	}
	if f.key, err = f.folder.storedSecret(functionsKeyFile, randomKey); err != nil {
		return err
	}
	f.token, err = f.folder.storedSecret(functionsTokenFile, randomKey)
	return err
}

// randomKey returns 32 bytes in base64.
func randomKey() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails: crypto/rand.Read aborts the program instead
	return base64.StdEncoding.EncodeToString(key)
}

// program has the settings in the environment, because every user of the machine can read
// arguments.
func (f *Functions) program() program {
	return program{
		path: f.binary, log: "functions.log",
		env: append([]string{
			"FUNCTIONS_DATABASE_URL=" + f.options.DatabaseURL,
			"FUNCTIONS_KEY_FILE=" + f.folder.childPath(functionsKeyFile),
			"FUNCTIONS_ADMIN_TOKEN_FILE=" + f.folder.childPath(functionsTokenFile),
			"FUNCTIONS_CACHE=" + f.folder.childPath(functionsCache),
			"FUNCTIONS_LISTEN=" + f.Address(),
			"FUNCTIONS_ADMIN_LISTEN=" + localAddress(f.admin),
			"FUNCTIONS_API_HOST=" + f.URL(),
			"CHANDLER_LOG_FORMAT=text",
		}, f.options.Env...),
	}
}

func (f *Functions) ready(ctx context.Context, _ int) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return answersOK(ctx, f.AdminURL()+"/readyz", http.Header{})
}
