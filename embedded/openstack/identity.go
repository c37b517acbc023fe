package openstack

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/chandler-broker/chandler"
	"github.com/chandler-broker/chandler/embedded"
)

const (
	accountsFile = "accounts.json"
	idsFile      = "ids.json"
	brokerDomain = "chandler"
)

// Account is an account of the cloud.
type Account struct {
	Name, Password string
	// Domain is the name of the domain that the account belongs to.
	Domain string
	// Project is the project in which the account has its role; empty: the domain itself.
	Project string
}

// Identity is a running Keystone. Its exported methods are safe for concurrent use.
type Identity struct {
	*embedded.Command
	cloud     *Cloud
	passwords accountPasswords
	ids       ids
}

// ids are what Keystone chose.
type ids struct {
	Domain       string `json:"domain_id"`
	MemberRole   string `json:"member_role_id"`
	AdminProject string `json:"admin_project_id"`
}

// accountPasswords are the passwords of Keystone's accounts.
type accountPasswords map[string]string

// accountNames are Keystone's accounts; the last are the services'.
var accountNames = []string{"admin", "chandler", "broker", "designate", "manila", "trove"}

// endpoint is a service in Keystone's catalog, with its account.
type endpoint struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	URL      string `json:"url"`
	Password string `json:"password"`
}

// AuthURL is the URL of the API, as in OS_AUTH_URL.
func (i *Identity) AuthURL() string { return address(i.Port()) + "/v3" }

// Region is the region of all services.
func (i *Identity) Region() string { return region }

// Admin is the cloud's administrator.
func (i *Identity) Admin() Account { return Account{"admin", i.passwords["admin"], "Default", "admin"} }

// Broker is the broker's account, as the shipped policy wants it: it has the role chandler_broker
// on its domain.
func (i *Identity) Broker() Account {
	return Account{"chandler", i.passwords["chandler"], brokerDomain, ""}
}

// DomainAdmin is an account that the broker must not use: it has the role admin on the domain.
func (i *Identity) DomainAdmin() Account {
	return Account{"broker", i.passwords["broker"], brokerDomain, ""}
}

// DomainID is the id of the broker's domain.
func (i *Identity) DomainID() string { return i.ids.Domain }

// MemberRoleID is the id of the role member.
func (i *Identity) MemberRoleID() string { return i.ids.MemberRole }

// keystoneModules are the modules of folder python that keystone_server.py imports.
var keystoneModules = []string{"keystone_memory.py"}

func openIdentity(ctx context.Context, c *Cloud) (*Identity, error) {
	command, err := embedded.OpenCommand(ctx, embedded.CommandOptions{Title: "Keystone server", Dir: c.dir("keystone").Dir})
	if err != nil {
		return nil, err
	}
	i := &Identity{Command: command, cloud: c, passwords: accountPasswords{}}
	for _, name := range accountNames {
		if i.passwords[name], err = command.Secret(name+"-password", rand.Text); err != nil {
			return i, err
		}
	}
	return i, makeKeys(command)
}

// makeKeys makes the keys of tokens and stored credentials: 0 is the next one, 1 the current one.
func makeKeys(c *embedded.Command) error {
	for _, folder := range []string{"fernet", "credential"} {
		if err := c.MakeDir(folder); err != nil {
			return err
		}
		for _, name := range []string{"0", "1"} {
			if _, err := c.Secret(folder+"/"+name, fernetKey); err != nil {
				return err
			}
		}
	}
	return nil
}

func fernetKey() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails: crypto/rand.Read aborts the program instead
	return base64.URLEncoding.EncodeToString(key)
}

// accounts describes the accounts and endpoints for keystone_server.py.
func (s settings) accounts(idsFile string) (string, error) {
	wanted := map[string]any{
		"url": s.IdentityRoot() + "/v3", "port": s.identity, "region": region, "domain": brokerDomain,
		"services": s.endpoints, "ids": idsFile,
	}
	for _, name := range accountNames {
		wanted[name] = s.passwords[name]
	}
	text, err := json.Marshal(wanted)
	return string(text), err
}

func (i *Identity) start(ctx context.Context) error {
	s := i.cloud.settings(i.Command)
	accounts, err := s.accounts(i.Path(idsFile))
	if err != nil {
		return err
	}
	s.Policy = i.Path(policyFile)
	program, err := s.python(i.cloud.ready, i.Command, "keystone_server.py", "serve", "keystone.conf", keystoneModules...)
	if err != nil {
		return err
	}
	program.Files[accountsFile], program.Files[policyFile] = accounts, chandler.KeystonePolicy()
	program.Args = append(program.Args, i.Path(accountsFile))
	program.Ready = answers(i.AuthURL())
	if err := i.Start(ctx, program); err != nil {
		return err
	}
	text, err := os.ReadFile(i.Path(idsFile))
	if err == nil {
		err = json.Unmarshal(text, &i.ids)
	}
	if err != nil {
		return fmt.Errorf("read the ids that Keystone chose: %w", err)
	}
	return nil
}

func (i *Identity) stop(ctx context.Context) error {
	if i == nil {
		return nil
	}
	return i.Stop(ctx)
}

// answers says whether an API answers a request without a token.
func answers(url string) func(context.Context) bool {
	return func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return false
		}
		request.Close = true
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode < http.StatusBadRequest
	}
}
