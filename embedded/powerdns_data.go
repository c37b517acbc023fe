package embedded

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

const (
	apiPortFile        = "api-port"
	apiKeyFile         = "api-key"
	powerDNSConfigFile = "pdns.conf"
)

// fill finds the programs, makes the data, and writes the configuration.
func (p *PowerDNS) fill(ctx context.Context) (err error) {
	if p.binaries, err = findPowerDNS(ctx); err != nil {
		return err
	}
	if p.apiKey, err = p.folder.storedSecret(apiKeyFile, rand.Text); err != nil {
		return err
	}
	if p.storage, err = p.madeBy(); err == nil && p.storage == "" {
		err = p.makeData(ctx)
	}
	if err != nil {
		return err
	}
	if p.apiPort, err = p.folder.storedPort(ctx, apiPortFile, tryTCP); err != nil {
		return err
	}
	return p.configure()
}

func (p *PowerDNS) makeData(ctx context.Context) (err error) {
	if p.storage, err = p.binaries.pick(p.folder.hidden); err != nil {
		return err
	}
	return p.folder.makeData(ctx, func(ctx context.Context) error {
		if p.storage == sqlite {
			return p.makeSQLite(ctx)
		}
		return nil // LMDB makes its file itself, at the first start
	})
}

// madeBy returns the storage that made the data folder; empty: it does not exist.
func (p *PowerDNS) madeBy() (powerDNSStorage, error) {
	if exists, err := p.folder.hasData(); err != nil || !exists {
		return "", err
	}
	made := lmdb
	if _, err := os.Stat(p.folder.path(dataFolder + "/" + powerDNSFiles[sqlite])); err == nil {
		made = sqlite
	}
	if slices.Contains(p.binaries.storage, made) {
		return made, nil
	}
	return "", fmt.Errorf("the data in %s was made with PowerDNS's backend %s, which is not installed; install it again, or move the data away: %w",
		p.folder.root, made, ErrNoPowerDNS)
}

func (p *PowerDNS) makeSQLite(ctx context.Context) error {
	file := p.folder.childPath(freshData + "/" + powerDNSFiles[sqlite])
	return runProcess(ctx, p.folder, program{path: p.binaries.shell, args: []string{"-batch", "-bail", file, ".read " + p.binaries.schema}})
}

// configure writes the server's configuration: it contains the API key, and every user
// can read arguments.
func (p *PowerDNS) configure() error {
	settings := []string{
		"launch=" + string(p.storage),
		"local-address=" + loopback,
		"local-port=" + strconv.Itoa(p.port),
		"socket-dir=" + inherited,
		"write-pid=no",
		"daemon=no",
		"guardian=no",
		"security-poll-suffix=", // which queries the Internet
		"version-string=anonymous",
		"loglevel=4", // warnings
		"api=yes",
		"api-key=" + p.apiKey,
		"webserver=yes",
		"webserver-address=" + loopback,
		"webserver-port=" + strconv.Itoa(p.apiPort),
		"webserver-allow-from=127.0.0.0/8",
		"dnsupdate=yes",
		"allow-dnsupdate-from=", // only by each zone's own list
		"allow-axfr-ips=",       // only by each zone's own keys
	}
	if p.secondary {
		settings = append(settings, "secondary=yes", "allow-notify-from=127.0.0.0/8", "xfr-cycle-interval=1",
			"negquery-cache-ttl=1") // the default of 60 s outlasts the arrival of a zone
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
