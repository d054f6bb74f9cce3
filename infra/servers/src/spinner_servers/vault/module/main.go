// Command vault is HashiCorp Vault's core and HTTP API in memory, with the key-value secrets engine and AppRole.
//
//	vault <host:port>     prints its address; the port may be 0
//
// It begins uninitialised and sealed, as Vault does. Vault's own command brings the clients of every cloud and database;
// tests of a secret back end need none of them.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"

	log "github.com/hashicorp/go-hclog"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/builtin/credential/approle"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

func main() {
	logger := log.New(&log.LoggerOptions{Level: log.Warn, Output: os.Stderr})
	store, err := inmem.NewInmem(nil, logger)
	check(err)
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical:           store,
		Logger:             logger,
		DisableMlock:       true,
		LogicalBackends:    map[string]logical.Factory{"kv": kv.Factory},
		BuiltinRegistry:    registry{},
		CredentialBackends: map[string]logical.Factory{"approle": approle.Factory},
	})
	check(err)
	listener, err := net.Listen("tcp", os.Args[1])
	check(err)
	fmt.Println(listener.Addr())
	check(http.Serve(listener, vaulthttp.Handler.Handler(&vault.HandlerProperties{
		Core:           core,
		ListenerConfig: &configutil.Listener{Address: listener.Addr().String(), TLSDisable: true},
	})))
}

// registry says which plugins are built in: those above.
type registry struct{}

func (registry) Contains(name string, kind consts.PluginType) bool {
	return kind == consts.PluginTypeSecrets && name == "kv" || kind == consts.PluginTypeCredential && name == "approle"
}

func (r registry) Get(name string, kind consts.PluginType) (func() (interface{}, error), bool) {
	if !r.Contains(name, kind) {
		return nil, false
	}
	if name == "kv" {
		return func() (interface{}, error) { return kv.Factory, nil }, true
	}
	return func() (interface{}, error) { return approle.Factory, nil }, true
}

func (registry) Keys(kind consts.PluginType) []string {
	switch kind {
	case consts.PluginTypeSecrets:
		return []string{"kv"}
	case consts.PluginTypeCredential:
		return []string{"approle"}
	}
	return nil
}

func (r registry) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, r.Contains(name, kind)
}

func (r registry) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
