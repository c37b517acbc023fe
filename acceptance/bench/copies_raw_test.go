package bench_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/embedded"
)

// rawTool copies data as an administrator would, without the broker.
type rawTool struct {
	// fill gives an instance so many bytes.
	fill func(ctx context.Context, d *rig.Deployment, access map[string]any, size int64) error
	// out writes the data to its standard output, and in reads it: commands of sh. Their variables
	// are from the binding's credentials.
	out, in string
}

func rawTools() map[string]rawTool {
	const mariadb = ` --no-defaults --protocol=tcp --skip-ssl --host="$HOST" --port="$PORT" --user="$USER" `
	return map[string]rawTool{
		"postgres": {fillPostgres, `pg_dump --format=custom --compress=0 --exclude-schema=chandler "$URI"`, `pg_restore --no-owner --no-acl --exit-on-error --dbname="$URI"`},
		"mysql": {fillMariaDB, `mariadb-dump` + mariadb + `--single-transaction --quick --no-tablespaces --default-character-set=utf8mb4 "$NAME"`,
			`mariadb` + mariadb + `"$NAME"`},
		"nats": {fillNATS, stageOf(stageSnapshot), stageOf(stageUnsnapshot)},
		"s3":   {fillS3, stageOf(stageObjects), stageOf(stageUnobjects)},
		// The broker also waits until everything is on the disk.
		"smb": {fillShare, `tar --xattrs --acls -C "$FOLDER/$SHARE" -c .`, `(tar --xattrs --acls -C "$FOLDER/$SHARE" -x && sync -f "$FOLDER")`},
	}
}

func stageOf(stage string) string { return stageVariable + "=" + stage + ` "$SELF"` }

// run runs a pipe of a tool. "$SELF" in it is this test's binary as the stage.
func (c *copyBench) run(pipe string, access map[string]any, stage string) spent {
	c.b.Helper()
	self, err := os.Executable()
	check(c.b, err)
	cmd := exec.CommandContext(c.b.Context(), "bash", "-c", "set -o pipefail; "+pipe)
	cmd.Env = append(os.Environ(), "SELF="+self, stageVariable+"="+stage, "FOLDER="+c.d.Value("SMB_FOLDER"))
	cmd.Env = append(append(cmd.Env, c.store.stage()...), variables(access)...)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	began := time.Now()
	if err := cmd.Run(); err != nil {
		c.b.Fatalf("%s: %v: %s", pipe, err, complaints.String())
	}
	return spent{time.Since(began), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
}

// variables are those in which commands find a binding's credentials.
func variables(access map[string]any) (env []string) {
	set := func(name string, value any) { env = append(env, fmt.Sprintf("%s=%v", name, value)) }
	for name, key := range map[string]string{
		"URI": "uri", "SHARE": "share", "CREDS": "creds", "ENDPOINT": "endpoint", "BUCKET": "bucket", "ACCESS_KEY": "access_key_id", "SECRET_KEY": "secret_access_key",
	} {
		if value, ok := access[key]; ok {
			set(name, value)
		}
	}
	uri, _ := access["uri"].(string)
	if u, err := url.Parse(uri); err == nil && u.Scheme == "mysql" {
		password, _ := u.User.Password()
		for name, value := range map[string]string{
			"HOST": u.Hostname(), "PORT": u.Port(), "USER": u.User.Username(), "MYSQL_PWD": password, "NAME": strings.Trim(u.Path, "/"),
		} {
			set(name, value)
		}
	}
	return env
}

// copyStore is a bucket for copies, on a real gateway.
type copyStore struct {
	gateway *embedded.VersityGW
	key     *age.X25519Identity
}

const copyBucket = "backups"

func startCopyStore(b *testing.B) copyStore {
	b.Helper()
	binary, err := embedded.BuildVersityGW(b.Context(), os.Stderr)
	check(b, err)
	dir, err := os.MkdirTemp(folder, "store-")
	check(b, err)
	check(b, os.Chmod(dir, 0o711))
	s := copyStore{}
	s.gateway, err = embedded.StartVersityGW(b.Context(), embedded.VersityGWOptions{Binary: binary, Dir: filepath.Join(dir, "gateway")})
	check(b, err)
	b.Cleanup(func() { _ = s.gateway.Stop(context.Background()) }) // b's context has ended
	s.key, err = age.GenerateX25519Identity()
	check(b, err)
	client, err := s3Client(s.gateway.Address(), s.gateway.AccessKeyID(), s.gateway.SecretAccessKey())
	check(b, err)
	check(b, client.MakeBucket(b.Context(), copyBucket, minio.MakeBucketOptions{}))
	return s
}

// environment is that of brokers.
func (s copyStore) environment() map[string]string {
	return map[string]string{
		"CHANDLER_BACKUPS_ENDPOINT": s.gateway.Endpoint(), "CHANDLER_BACKUPS_BUCKET": copyBucket, "CHANDLER_BACKUPS_REGION": s.gateway.Region(),
		"CHANDLER_BACKUPS_ACCESS_KEY_ID": s.gateway.AccessKeyID(), "CHANDLER_BACKUPS_SECRET_ACCESS_KEY": s.gateway.SecretAccessKey(),
	}
}

// stage is the environment of the stages put and get.
func (s copyStore) stage() []string {
	return []string{
		"STORE_ADDRESS=" + s.gateway.Address(), "STORE_ACCESS_KEY=" + s.gateway.AccessKeyID(), "STORE_SECRET_KEY=" + s.gateway.SecretAccessKey(),
		"STORE_KEY=" + s.key.String(),
	}
}

func s3Client(address, access, secret string) (*minio.Client, error) {
	return minio.New(address, &minio.Options{Creds: credentials.NewStaticV4(access, secret, ""), Region: "us-east-1", BucketLookup: minio.BucketLookupPath})
}

// noise fills a buffer with data of which about half can be compressed away.
func noise(buffer []byte) {
	const unit = 2048
	for at := 0; at < len(buffer); at += 2 * unit {
		_, _ = rand.Read(buffer[at:min(at+unit, len(buffer))])
	}
}

// host is the address in a URL.
func host(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return text
	}
	if u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "80")
	}
	return u.Host
}
