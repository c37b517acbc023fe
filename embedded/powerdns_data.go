package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

const (
	apiPortFile        = "api-port"
	apiKeyFile         = "api-key"
	powerDNSConfigFile = "pdns.conf"

	// inherited is the server's folder for the server, whatever the folder is
	// called and wherever it is: see folder.childPath.
	inherited = "/proc/self/fd/3"
)

// initialise finds the programs, and makes the data where that has not been
// done to the end.
func (p *PowerDNS) initialise(ctx context.Context) (err error) {
	if p.binaries, err = findPowerDNS(ctx); err != nil {
		return err
	}
	if err := p.readKey(); err != nil {
		return err
	}
	made, err := p.madeBy()
	if err != nil || made != "" {
		p.storage = made
		return err
	}
	if p.storage, err = p.binaries.pick(p.folder.hidden); err != nil {
		return err
	}
	// Made under another name first: what a crash leaves half-made is not
	// taken for data.
	if err := os.RemoveAll(p.folder.path(freshData)); err != nil {
		return fmt.Errorf("remove a half-made data folder: %w", err)
	}
	if err := p.folder.makeDir(freshData); err != nil {
		return err
	}
	if p.storage == sqlite {
		if err := p.makeSQLite(ctx); err != nil {
			return err
		}
	}
	if err := os.Rename(p.folder.path(freshData), p.folder.path(dataFolder)); err != nil {
		return fmt.Errorf("put the new data folder in place: %w", err)
	}
	return nil
}

// madeBy returns the storage that made the data folder; empty where there is
// none yet. LMDB makes its file itself, at the first start.
func (p *PowerDNS) madeBy() (powerDNSStorage, error) {
	if _, err := os.Stat(p.folder.path(dataFolder)); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	made := lmdb
	if _, err := os.Stat(p.folder.path(dataFolder + "/" + powerDNSFiles[sqlite])); err == nil {
		made = sqlite
	}
	for _, s := range p.binaries.storage {
		if s == made {
			return made, nil
		}
	}
	return "", fmt.Errorf("the data in %s was made with PowerDNS's backend %s, which is not installed; install it again, or move the data away: %w",
		p.folder.root, made, ErrNoPowerDNS)
}

func (p *PowerDNS) makeSQLite(ctx context.Context) error {
	return runProcess(ctx, program{
		path:   p.binaries.shell,
		args:   []string{"-batch", "-bail", p.folder.childPath(freshData + "/" + powerDNSFiles[sqlite]), ".read " + p.binaries.schema},
		folder: p.folder, log: "sqlite3.log",
		polite: syscall.SIGTERM, orphaned: syscall.SIGKILL,
	})
}

func (p *PowerDNS) readKey() error {
	key, err := p.folder.readFile(apiKeyFile)
	if err != nil {
		return err
	}
	if len(key) == 0 {
		key = []byte(newPassword())
		if err := p.folder.writeFile(apiKeyFile, key); err != nil {
			return err
		}
	}
	p.apiKey = string(key)
	return nil
}

// configure writes the server's configuration, which holds the API key: hence
// a file of the server's own and no arguments.
func (p *PowerDNS) configure() error {
	settings := []string{
		"launch=" + string(p.storage),
		"local-address=" + loopback,
		"local-port=" + strconv.Itoa(p.port),
		"socket-dir=" + inherited,
		"write-pid=no",
		"daemon=no",
		"guardian=no",
		"security-poll-suffix=", // it would ask the Internet about itself
		"version-string=anonymous",
		"loglevel=4", // warnings
		"api=yes",
		"api-key=" + p.apiKey,
		"webserver=yes",
		"webserver-address=" + loopback,
		"webserver-port=" + strconv.Itoa(p.apiPort),
		"webserver-allow-from=127.0.0.0/8",
		"dnsupdate=yes",
		"allow-dnsupdate-from=", // by each zone's own list only
		"allow-axfr-ips=",       // by each zone's own keys only
	}
	file := inherited + "/" + dataFolder + "/" + powerDNSFiles[p.storage]
	switch p.storage {
	case sqlite:
		settings = append(settings, "gsqlite3-database="+file, "gsqlite3-dnssec=yes")
		if p.options.NoSync {
			settings = append(settings, "gsqlite3-pragma-synchronous=0")
		}
	case lmdb:
		settings = append(settings, "lmdb-filename="+file, "lmdb-shards=1")
		if p.options.NoSync {
			settings = append(settings, "lmdb-sync-mode=nosync")
		}
	}
	return p.folder.writeFile(powerDNSConfigFile, []byte(strings.Join(settings, "\n")+"\n"))
}
