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
	Start func(ctx context.Context, o KindOptions) (Running, error)
	// Files lists what tenants have in the folder of a server that runs in this process,
	// for another process; nil for servers with a process of their own.
	Files func(dir string) ([]string, error)

	missing error
}

// Kinds are all kinds, except PostgreSQL, which the broker itself needs, and the
// functions' runtimes, which need a database.
func Kinds() []Kind {
	return []Kind{
		{Backend: "database/mysql", Folder: "mariadb", missing: ErrNoMariaDB, Start: startMariaDBKind},
		{Backend: "queue/nats", Folder: "nats", Files: natsFiles, Start: func(ctx context.Context, o KindOptions) (Running, error) {
			return StartNATS(ctx, NATSOptions{Dir: o.Dir})
		}},
		{Backend: "queue/rabbitmq", Folder: "rabbitmq", missing: ErrNoRabbitMQ, Start: func(ctx context.Context, o KindOptions) (Running, error) {
			return StartRabbitMQ(ctx, o.Options)
		}},
		{Backend: "dns/powerdns", Folder: "powerdns", missing: ErrNoPowerDNS, Start: func(ctx context.Context, o KindOptions) (Running, error) {
			return StartPowerDNS(ctx, o.Options)
		}},
		{Backend: "filesystem/s3", Folder: "s3", missing: ErrNoVersityGW, Start: startVersityGWKind},
		{Backend: "filesystem/smb", Folder: "samba", missing: ErrNoSamba, Start: func(ctx context.Context, o KindOptions) (Running, error) {
			return StartSamba(ctx, SambaOptions{Options: o.Options})
		}},
	}
}

// KindOptions are those of servers of all kinds.
type KindOptions struct {
	Options
	// Progress receives the output of builds.
	Progress io.Writer
	// Account is the broker's account on servers that it cannot administer with the one
	// that they are made with.
	Account Account
}

// Account is the account with which the broker administers a server.
type Account struct {
	Name, Password string
	// SQL makes the account; an SQL server's superuser runs it after each start.
	SQL string
}

// Running is a server that a Kind started. If Kind.Files is nil, it is also a Process.
type Running interface {
	Stop(ctx context.Context) error
	// Access returns the variables by which the shipped catalog finds the server, and the
	// passwords and keys that only the broker may see, by description. connect returns the
	// TCP address for clients, such as a proxy's, of each that it gets.
	Access(connect func(address string) string) (variables, secrets map[string]string)
	// Holds lists what tenants have on the server: databases, accounts, zones. It
	// asks the server itself.
	Holds(ctx context.Context) ([]string, error)
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

// get sends an HTTP request on a connection of its own. A response other than 200 is an
// error.
func get(ctx context.Context, address string, header http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header, request.Close = header, true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		_ = response.Body.Close()
		return nil, fmt.Errorf("%s answers %s", request.URL.Path, response.Status)
	}
	return response, nil
}

// answersOK says whether an HTTP API answers a GET with 200.
func answersOK(ctx context.Context, address string, header http.Header) bool {
	response, err := get(ctx, address, header)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return true
}

// listNames gets the names of what an HTTP API lists.
func listNames(ctx context.Context, address string, header http.Header) ([]string, error) {
	response, err := get(ctx, address, header)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
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
