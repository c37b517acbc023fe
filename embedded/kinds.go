package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
)

// Kind is a kind of server that "chandler dev" and the acceptance suite start for
// one type of backend.
type Kind struct {
	// Backend is the type of backend in the catalog, such as "queue/rabbitmq".
	Backend string
	// Folder is the name of the server's folder in a data folder of "chandler dev".
	Folder string
	// Start starts a server. Its error says what to install.
	Start func(ctx context.Context, o Options) (*Running, error)
	// Files lists what a server that runs in this process keeps in its folder of
	// others; nil for servers with a process of their own.
	Files func(dir string) ([]string, error)

	missing error
}

// Kinds are all kinds. PostgreSQL is not among them, because the broker itself
// needs one, and neither are the functions' runtimes, which need a database.
func Kinds() []Kind {
	return []Kind{mariaDBKind(), natsKind(), rabbitMQKind(), powerDNSKind(), versityGWKind(), sambaKind()}
}

// Options are for servers of all kinds.
type Options struct {
	// Dir is the server's folder.
	Dir string
	// NoSync is for tests: a power failure may destroy the data.
	NoSync bool
	// Progress receives the output of builds.
	Progress io.Writer
	// Account is for servers on which the broker cannot administer with the
	// account that they are made with.
	Account Account
}

// Account is what the broker administers a server with.
type Account struct {
	Name, Password string
	// SQL makes the account; an SQL server's superuser runs it after each start.
	SQL string
}

// Running is a server that was started.
type Running struct {
	// Server stops the server. It is also a Process, where Kind.Files is nil.
	Server interface {
		Stop(ctx context.Context) error
	}
	// Variables are those by which the shipped catalog finds the server. connect
	// maps each TCP address to the one that clients use, such as a proxy's.
	Variables func(connect func(address string) string) map[string]string
	// Secrets are passwords and keys that nobody but the broker may see, by what
	// they are.
	Secrets map[string]string
	// Holds lists what is on the server and not its own: databases, accounts,
	// zones. It asks the server itself.
	Holds func(ctx context.Context) ([]string, error)
}

// Process is a server in a process of its own.
type Process interface {
	Kill()
	Restart(ctx context.Context) error
	Stop(ctx context.Context) error
}

// NotInstalled says whether a server did not start because it is not installed. The
// error's text says what to install.
func NotInstalled(err error) bool {
	return errors.Is(err, ErrNoPostgres) || errors.Is(err, ErrNoVault) || errors.Is(err, ErrNoFunctions) ||
		slices.ContainsFunc(Kinds(), func(k Kind) bool { return k.missing != nil && errors.Is(err, k.missing) })
}

// hostAndPort splits an address that is known to have both.
func hostAndPort(address string) (host, port string) {
	host, port, _ = net.SplitHostPort(address)
	return host, port
}

// named gets the names of what an HTTP API lists.
func named(ctx context.Context, address string, header http.Header) ([]string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header = header
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", request.URL.Path, response.Status)
	}
	var list []struct {
		Name string `json:"name"`
	}
	err = json.NewDecoder(response.Body).Decode(&list)
	names := []string{}
	for _, l := range list {
		names = append(names, l.Name)
	}
	return names, err
}
