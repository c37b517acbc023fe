package catalog

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/chandler-broker/chandler/broker/backup/schedule"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/endpoint"
)

// Backups is where the backups of all plans are stored.
type Backups struct {
	Store BackupStore `yaml:"store,required"`
	// Recipient is the operator's age recipient, whose identity is kept offline: backups
	// are encrypted to it beside the instance's key. Nil for none.
	Recipient     *age.X25519Recipient `yaml:"-"`
	RecipientText string               `yaml:"recipient"`
	// AtOnce is how many copies are made or restored at a time on one server.
	AtOnce int `yaml:"at_once" bounds:"1-100"`
	// Required false says that plans go without their backups as long as no store is
	// configured.
	Required bool `yaml:"required"`
}

// BackupStore is a bucket of any S3, which exists and which no tenant can reach.
type BackupStore struct {
	// Endpoint is the URL of the S3 API.
	Endpoint string `yaml:"endpoint,required"`
	Bucket   string `yaml:"bucket,required"`
	// Region is what requests are signed for.
	Region string `yaml:"region"`
	// Prefix begins the names of all objects, so that several brokers can share a bucket.
	Prefix string `yaml:"prefix"`
	// AccessKeyID and SecretAccessKey are an account that may list the bucket and its
	// incomplete uploads, and read, write and delete objects.
	AccessKeyID     string          `yaml:"access_key_id,required"`
	SecretAccessKey services.Secret `yaml:"secret_access_key,required"`
	// CA or CAFile has the certificates of the store's authority.
	CA     string `yaml:"ca"`
	CAFile string `yaml:"ca_file"`
}

// PlanBackups says which backups of a plan's instances are made and kept.
type PlanBackups struct {
	// Schedule is a cron expression of five fields in TimeZone; empty: backups are made on
	// demand only.
	Schedule string        `yaml:"schedule"`
	TimeZone string        `yaml:"time_zone"`
	Keep     schedule.Keep `yaml:"keep"`
	// OnDemand is how many backups the user may have beside the scheduled ones; 0: none.
	OnDemand int `yaml:"on_demand" bounds:"0-1000"`
	// Verify is how often an instance's newest backup is restored to prove it; 0: never.
	Verify time.Duration `yaml:"verify"`
	// AfterDelete is how long the backups of a deleted instance are kept.
	AfterDelete time.Duration `yaml:"after_delete"`
	// MaxSize is the maximum size of a copy before it is compressed; 0: unlimited.
	MaxSize services.Size `yaml:"max_size"`

	// Held says that the instance's server holds the backups: they need no store.
	Held bool `yaml:"-"`

	schedule schedule.Schedule
	zone     *time.Location
}

// DefaultAfterDelete is how long the backups of a deleted instance are kept if its plan does
// not say.
const DefaultAfterDelete = 30 * 24 * time.Hour

// Backups returns the section "backups", of the file or else of the environment; nil if neither
// has one.
func (c *Catalog) Backups() *Backups { return c.backups }

// HoldsBackups reports whether servers may hold backups, also of plans that no longer have any.
func (c *Catalog) HoldsBackups() bool {
	return slices.ContainsFunc(c.Servers(), func(s Server) bool { return s.Definition.HoldsBackups })
}

// WithoutBackups are the names of the plans that have no backups, although the file says which,
// because no store is configured and none is required.
func (c *Catalog) WithoutBackups() []string { return c.withoutBackups }

// Scheduled reports whether backups are made by the clock.
func (b *PlanBackups) Scheduled() bool { return !b.schedule.IsZero() }

// Next returns when the instance of that name is due next after a time; the zero time if the
// plan has no schedule (schedule.Schedule.Next).
func (b *PlanBackups) Next(after time.Time, instance string) time.Time {
	return b.schedule.Next(after, instance)
}

// Expired returns the indexes of the scheduled backups that are no longer wanted, of the times
// at which all scheduled ones of an instance were made (schedule.Keep.Expired).
func (b *PlanBackups) Expired(made []time.Time) []int { return b.Keep.Expired(made, b.zone) }

// DefaultAtOnce is Backups.AtOnce if the file does not say.
const DefaultAtOnce = 2

const defaultRegion = "us-east-1"

func (b *Backups) check(c *checker, n *node) {
	if b.AtOnce == 0 {
		b.AtOnce = DefaultAtOnce
	}
	at := n.member("recipient")
	if at == nil || b.RecipientText == "" {
		return
	}
	var err error
	if b.Recipient, err = age.ParseX25519Recipient(b.RecipientText); err != nil {
		c.wrong(at, recipientRule)
	}
}

// check reads a plan's backups, except that its backend must be able to make them.
func (b *PlanBackups) check(c *checker, n *node) {
	zone, err := schedule.Zone(b.TimeZone)
	if err != nil {
		c.wrong(n.member("time_zone"), "%s", err)
		return
	}
	b.zone = zone
	if b.AfterDelete == 0 {
		b.AfterDelete = DefaultAfterDelete
	}
	switch at := n.member("schedule"); {
	case b.Schedule != "":
		if b.schedule, err = schedule.Parse(b.Schedule, zone); err != nil {
			c.wrong(at, "%s", err)
		}
		if b.Keep == (schedule.Keep{}) {
			c.add(n.line, under(n.path, "keep"), "is required with schedule: say how many backups are kept: {last: 7, daily: 7, weekly: 4}")
		}
	case at != nil: // and at fault
	case b.Keep != (schedule.Keep{}):
		c.wrong(n.member("keep"), "is about backups by schedule; add schedule, or remove this")
	case b.OnDemand == 0:
		c.wrong(n, "no backups would be made; add schedule, or on_demand")
	}
}

// BackupVariables begins the names of the environment's variables that say where backups are
// stored if the file has no section "backups".
const BackupVariables = "CHANDLER_BACKUPS_"

// environmentBackups is the section "backups" of the environment; nil if it has none.
func (c *checker) environmentBackups() *Backups {
	text := func(name string) string {
		if value, ok := c.getenv(BackupVariables + name); ok {
			return value
		}
		return ""
	}
	if text("ENDPOINT") == "" {
		return nil
	}
	b := &Backups{AtOnce: DefaultAtOnce, RecipientText: text("RECIPIENT"), Store: BackupStore{
		Endpoint: text("ENDPOINT"), Bucket: text("BUCKET"), Region: cmp.Or(text("REGION"), defaultRegion), Prefix: text("PREFIX"),
		AccessKeyID: text("ACCESS_KEY_ID"), SecretAccessKey: services.NewSecret(text("SECRET_ACCESS_KEY")), CAFile: text("CA_FILE"),
	}}
	fault := func(name, message string) {
		c.add(0, "", "the environment variable %s%s %s", BackupVariables, name, message)
	}
	if err := b.Store.Validate(); err != nil {
		for _, e := range flatten(err) {
			key, message, _ := strings.Cut(e.Error(), ": ")
			fault(strings.ToUpper(key), message)
		}
	}
	for _, name := range []string{"ACCESS_KEY_ID", "SECRET_ACCESS_KEY"} {
		if text(name) == "" {
			fault(name, "is not set")
		}
	}
	if b.RecipientText != "" {
		var err error
		if b.Recipient, err = age.ParseX25519Recipient(b.RecipientText); err != nil {
			fault("RECIPIENT", recipientRule)
		}
	}
	return b
}

const recipientRule = "must be a public key of age-keygen, age1 and 58 more characters; keep the private key offline"

// planBackups checks that the plan's backups can be made.
func (r servicesReader) planBackups(n *node, p *Plan, d services.Definition) {
	at := n.member("backups")
	switch {
	case p.Backups == nil:
	case !d.Streams && !d.HoldsBackups:
		r.wrong(at, "backend %s (%s) cannot make backups; remove this", quote(p.Backend), d.Name)
	case d.HoldsBackups:
		p.Backups.Held = true
	case r.hasBackups || r.namesOnly:
	case r.storeOptional:
		r.withoutBackups = append(r.withoutBackups, p.Name)
		p.Backups = nil
	default:
		r.wrong(at, "the file does not say where backups are stored; add backups.store at its top")
	}
}

var (
	bucketName  = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	storeRegion = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	storePrefix = regexp.MustCompile(`^[A-Za-z0-9_-]+([./][A-Za-z0-9_-]+)*$`)
)

const maxStorePrefix = 200

// StorePorts are the schemes of a store's endpoint, with their default ports.
func StorePorts() map[string]uint16 { return map[string]uint16{"http": 80, "https": 443} }

// Validate returns all faults, each with the key that it is about. It makes no call.
func (s BackupStore) Validate() error {
	var faults []error
	add := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	_, _, err := endpoint.Parse(s.Endpoint, StorePorts())
	add(err != nil, "endpoint: %w", err)
	add(!bucketName.MatchString(s.Bucket), "bucket: must be the name of a bucket: 3 to 63 characters of a-z, 0-9, '.' and '-'")
	add(!storeRegion.MatchString(s.Region), "region: must be the store's region, such as %s", defaultRegion)
	add(s.Prefix != "" && (len(s.Prefix) > maxStorePrefix || !storePrefix.MatchString(s.Prefix)),
		"prefix: must be a path such as chandler/production, of A-Z, a-z, 0-9, '.', '_' and '-', with %d characters at most", maxStorePrefix)
	return errors.Join(append(faults, cafile.Check(s.CA, s.CAFile))...)
}

func (s *BackupStore) check(c *checker, n *node) {
	s.Region = cmp.Or(s.Region, defaultRegion)
	if err := s.Validate(); err != nil && !n.anyUnknown() {
		for _, e := range flatten(err) {
			c.configFault(n, e.Error())
		}
	}
}
