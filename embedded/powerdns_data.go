package embedded

import (
	"context"
	"fmt"
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

// fill finds the programs, makes the data where that has not been done to the
// end, and writes the configuration.
func (p *PowerDNS) fill(ctx context.Context) (err error) {
	if p.binaries, err = findPowerDNS(ctx); err != nil {
		return err
	}
	if p.apiKey, err = p.folder.keptSecret(apiKeyFile); err != nil {
		return err
	}
	if p.storage, err = p.madeBy(); err == nil && p.storage == "" {
		err = p.makeData(ctx)
	}
	if err != nil {
		return err
	}
	if err := p.choosePorts(ctx); err != nil {
		return err
	}
	return p.configure()
}

func (p *PowerDNS) makeData(ctx context.Context) (err error) {
	if p.storage, err = p.binaries.pick(p.folder.hidden); err != nil {
		return err
	}
	return p.folder.makeData(func() error {
		if p.storage == sqlite {
			return p.makeSQLite(ctx)
		}
		return nil // LMDB makes its file itself, at the first start
	})
}

// madeBy returns the storage that made the data folder; empty where there is
// none yet.
func (p *PowerDNS) madeBy() (powerDNSStorage, error) {
	if there, err := p.folder.hasData(); err != nil || !there {
		return "", err
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
