# Builds every part into build/. `node build.mjs` calls it and explains what is missing; targets can be built alone.
B := build
CFLAGS ?= -O2 -g
WARN := -Wall -Wextra -Werror

.PHONY: all shim addon child kernel ts clean
all: shim addon child kernel ts

shim:
	$(MAKE) -C shim OUT=$(abspath $(B))/shim

addon:
	$(MAKE) -C router/native OUT=$(abspath $(B))/native

child:
	cd wg/child && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags='-s -w' -o $(abspath $(B))/mlshim-wg .

kernel:
	$(MAKE) -C router/kernel OUT=$(abspath $(B))/kernel

ts:
	node node_modules/typescript/bin/tsc -p .

clean:
	rm -rf $(B)
