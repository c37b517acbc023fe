package rgw

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestSuite(t *testing.T) {
	server := newServer(t)
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	servicetest.Run(t, servicetest.Suite{
		Definition: Definition(),
		Address:    server.address(),
		Config:     func(address string) json.RawMessage { return server.config(address) },
		Secrets:    []string{server.secretKey},
		Plan:       raw(`{"storage": "100MB", "objects": 1000, "bindings": 10, "delete_contents": true}`),
		OtherPlan:  raw(`{"storage": "1GB", "delete_contents": true}`),
		Create:     []json.RawMessage{raw(`{}`)},
		Bind:       []json.RawMessage{raw(`{}`)},
		BindSame:   []json.RawMessage{raw(`{"role": "read_write"}`)},
		Invalid:    objecttest.Invalid(),
		ReadOnly:   raw(`{"role": "read_only"}`),
		Block: map[string]func(*testing.T, map[string]any, ...map[string]any){
			"an object that is being written": holdsConnection,
		},
		Reach: func(t *testing.T, mine, theirs map[string]any) { reach(t, server, mine, theirs) },
		Limits: []servicetest.Limit{
			{Name: "storage", Plan: raw(`{"storage": "1MB", "delete_contents": true}`), Holds: holdsStorage},
			{Name: "objects", Plan: raw(`{"objects": 3, "delete_contents": true}`), Holds: holdsObjects},
			{Name: "bindings", Plan: raw(`{"bindings": 2}`), Holds: objecttest.HoldsBindings},
		},
		Fill:          objecttest.Fill(slices.Concat(objecttest.OddKeys(), oddKeys())),
		Change:        objecttest.Change,
		Left:          server.leftOf(t),
		ServerSecrets: true,
	})
}

// oddKeys are further keys, which would not be different files.
func oddKeys() []string {
	return []string{
		"/leading", "double//slash", "..", "../above", "a/../b", "./here", ".", "a\x01b\x1f", "carriage\rreturn",
		strings.Repeat("l", 1024), strings.Repeat("日", 341),
	}
}

// refusedAtOnce is the gateway's answer to what exceeds the quota.
const refusedAtOnce = "QuotaExceeded"

func holdsStorage(t *testing.T, use servicetest.Use) {
	s, ctx := objecttest.Dial(t, use.Bind(t, nil)), objecttest.Context(t)
	big := strings.Repeat("x", 400_000)
	s.MustPut(t, "one", big)
	s.MustPut(t, "two", big)
	objecttest.ExpectCode(t, s.Put(t, "three", big), refusedAtOnce)
	objecttest.ExpectCode(t, objecttest.Dial(t, use.Bind(t, nil)).Put(t, "three", big), refusedAtOnce)
	uploadIsRefused(t, s, big)
	if _, err := s.Read(ctx, "one"); err != nil {
		t.Errorf("read from a full bucket: %v", err)
	}
	s.MustPut(t, "three", big[:220_000])
	objecttest.KeepUntil(t, use, "storage: ")
	if err := s.Client.RemoveObject(ctx, s.Bucket, "two", minio.RemoveObjectOptions{}); err != nil {
		t.Errorf("delete from a full bucket: %v", err)
	}
	s.MustPut(t, "four", "x")
	objecttest.KeepUntil(t, use, "")
}

// uploadIsRefused shows that the parts of uploads count.
func uploadIsRefused(t *testing.T, s objecttest.Session, part string) {
	t.Helper()
	core, ctx := minio.Core{Client: s.Client}, objecttest.Context(t)
	id, err := core.NewMultipartUpload(ctx, s.Bucket, "parts", minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = core.PutObjectPart(ctx, s.Bucket, "parts", id, 1, strings.NewReader(part), int64(len(part)), minio.PutObjectPartOptions{})
	objecttest.ExpectCode(t, err, refusedAtOnce)
	if err := core.AbortMultipartUpload(ctx, s.Bucket, "parts", id); err != nil {
		t.Error(err)
	}
}

func holdsObjects(t *testing.T, use servicetest.Use) {
	s := objecttest.Dial(t, use.Bind(t, nil))
	for _, key := range []string{"1", "2", "a/3"} {
		s.MustPut(t, key, "x")
	}
	objecttest.ExpectCode(t, s.Put(t, "4", "x"), refusedAtOnce)
	objecttest.KeepUntil(t, use, "objects: 3 of 3;")
	if err := s.Client.RemoveObject(objecttest.Context(t), s.Bucket, "1", minio.RemoveObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	s.MustPut(t, "4", "x")
}

// reach tries what any gateway has to refuse, and what is peculiar to this one.
func reach(t *testing.T, server *testServer, mine, theirs map[string]any) {
	their, own := objecttest.Text(t, theirs, "bucket"), objecttest.Text(t, mine, "bucket")
	tenant := func(bucket string) string { return strings.Replace(bucket, "-", "_", 1) }
	user := func(bucket, name string) string { return tenant(bucket) + "%24" + name }
	get, put, post := http.MethodGet, http.MethodPut, http.MethodPost
	far := tenant(their) + ":" + their
	attack := func(name, method, bucket, key, query, body string, header ...string) objecttest.Attack {
		r := objectstore.Request{Method: method, Bucket: bucket, Key: key, Query: objecttest.Query(query), Body: []byte(body), Header: http.Header{}}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return objecttest.Attack{Name: name, Request: r}
	}
	call := func(action string) objecttest.Attack {
		return attack("action "+action, post, "", "", "", "Action="+action, "Content-Type", "application/x-www-form-urlencoded")
	}
	objecttest.Reach(t, mine, theirs,
		attack("list theirs by tenant", get, far, "", "", ""),
		attack("read theirs by tenant", get, far, "secret", "", ""),
		attack("write theirs by tenant", put, far, "secret", "", "mine"),
		attack("delete theirs by tenant", http.MethodDelete, far, "secret", "", ""),
		attack("copy theirs by tenant", put, own, "copy", "", "", "X-Amz-Copy-Source", "/"+far+"/secret"),
		attack("their policy by tenant", get, far, "", "policy", ""),
		attack("a bucket in their tenant", put, tenant(their)+":another", "", "", ""),
		attack("share an object", put, own, "secret", "acl", "", "X-Amz-Acl", "public-read"),
		attack("life cycle of mine", put, own, "", "lifecycle", `<LifecycleConfiguration><Rule><ID>a</ID><Prefix></Prefix><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>`),
		attack("CORS of mine", put, own, "", "cors", `<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>`),
		attack("notifications of mine", put, own, "", "notification", `<NotificationConfiguration><TopicConfiguration><Id>x</Id><Topic>arn:aws:sns:default::t</Topic></TopicConfiguration></NotificationConfiguration>`),
		attack("public access to mine", put, own, "", "publicAccessBlock", `<PublicAccessBlockConfiguration><BlockPublicAcls>false</BlockPublicAcls></PublicAccessBlockConfiguration>`),
		attack("retain an object", put, own, "retained", "", "x", "X-Amz-Object-Lock-Mode", "COMPLIANCE", "X-Amz-Object-Lock-Retain-Until-Date", "2099-01-01T00:00:00Z"),
		call("CreateRole&RoleName=r&AssumeRolePolicyDocument={}"),
		call("PutUserPolicy&PolicyName=p&UserName=rw&PolicyDocument={}"),
		call("GetSessionToken"), call("AssumeRole&RoleArn=arn:aws:iam:::role/r&RoleSessionName=s"),
		call("CreateOpenIDConnectProvider&Url=http://127.0.0.1"),
		attack("read my owner", get, "admin", "user", "format=json&uid="+user(own, "owner"), ""),
		attack("read their user", get, "admin", "user", "format=json&uid="+user(their, "rw"), ""),
		attack("make a user", put, "admin", "user", "format=json&display-name=x&uid=intruder", ""),
		attack("make a subuser", put, "admin", "user", "subuser=&format=json&access=full&uid="+user(own, "rw"), ""),
		attack("make a key", put, "admin", "user", "key=&format=json&uid="+user(own, "owner"), ""),
		attack("grant capabilities", put, "admin", "user", "caps=&format=json&user-caps=users=*&uid="+user(own, "rw"), ""),
		attack("raise the quota", put, "admin", "user", "quota=&format=json&quota-type=bucket&enabled=false&uid="+user(own, "owner"), ""),
		attack("list the users", get, "admin", "metadata/user", "", ""),
		attack("list the buckets", get, "admin", "bucket", "", ""),
		attack("link their bucket", put, "admin", "bucket", "format=json&bucket="+far+"&uid="+user(own, "rw"), ""),
		attack("delete my bucket as an administrator", http.MethodDelete, "admin", "bucket", "purge-objects=true&bucket="+own, ""),
	)
	grants(t, server, mine)
	objecttest.Anonymous(t, server.endpoint, "/"+far, "/"+far+"/secret", "/"+far+"?policy", "/"+far+"?acl")
}

// grants writes objects that everybody may read, in every way there is, and shows that nobody may.
func grants(t *testing.T, server *testServer, mine map[string]any) {
	t.Helper()
	me, own := objecttest.Raw(t, mine), objecttest.Text(t, mine, "bucket")
	all := `uri="http://acs.amazonaws.com/groups/global/AllUsers"`
	for i, header := range [][2]string{
		{"X-Amz-Acl", "public-read"}, {"X-Amz-Acl", "public-read-write"}, {"X-Amz-Acl", "authenticated-read"},
		{"X-Amz-Grant-Read", all}, {"X-Amz-Grant-Full-Control", all}, {"X-Amz-Grant-Read", `id="other"`},
	} {
		t.Run("grant "+header[0]+" "+header[1], func(t *testing.T) {
			key := fmt.Sprint("shared", i)
			r := objectstore.Request{Method: http.MethodPut, Bucket: own, Key: key, Body: []byte("x"), Header: http.Header{header[0]: {header[1]}}}
			if err := me.Call(objecttest.Context(t), r, nil); err != nil {
				t.Logf("refused: %v", err)
				return
			}
			path := "/" + strings.Replace(own, "-", "_", 1) + ":" + own + "/" + key
			if status := objecttest.Fetch(t, server.endpoint+path); status != http.StatusForbidden {
				t.Errorf("anybody reads it: %d", status)
			}
			other := objecttest.Raw(t, mine)
			other.AccessKey, other.SecretKey = server.accessKey, services.NewSecret(server.secretKey)
			err := other.Call(objecttest.Context(t), objectstore.Request{Method: http.MethodGet, Bucket: path[1:strings.LastIndex(path, "/")], Key: key}, nil)
			if !objectstore.Is(err, accessDenied) {
				t.Errorf("another user reads it: %v", err)
			}
		})
	}
}

// holdsConnection begins to write an object, and neither ends that nor hangs up.
func holdsConnection(t *testing.T, mine map[string]any, theirs ...map[string]any) {
	for _, values := range append(theirs[:1:1], mine) {
		beginPut(t, values, "held")
	}
}

// beginPut sends half of an object. The function that it returns sends the rest and returns the
// status of the answer.
func beginPut(t *testing.T, values map[string]any, key string) (end func() int) {
	t.Helper()
	s := objecttest.Dial(t, values)
	link, err := s.Client.PresignedPutObject(objecttest.Context(t), s.Bucket, key, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := (&net.Dialer{}).DialContext(objecttest.Context(t), "tcp", link.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	half := strings.Repeat("x", 5<<20)
	if _, err := fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", link.RequestURI(), link.Host, 2*len(half), half); err != nil {
		t.Fatal(err)
	}
	return func() int {
		if _, err := conn.Write([]byte(half)); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
}
