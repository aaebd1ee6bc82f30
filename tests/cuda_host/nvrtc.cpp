// A stand-in for NVIDIA's run-time compiler: it takes what pelton gives it and makes text that the stand-in driver
// takes for a kernel which the host's compiler has built already (custom.cpp).
//
// It calls itself libnvrtc.so. A source with an `#error` does not compile, and what is forgotten to be given back is
// found when the process ends.

#include <cstdio>
#include <cstring>
#include <string>

#include <unistd.h>

#define NVRTC extern "C" __attribute__((visibility("default")))

namespace {

enum Code : int { SUCCESS = 0, INVALID_INPUT = 3, INVALID_OPTION = 5, COMPILATION = 6 };

struct Program {
    std::string source, ptx, log;
};

int alive = 0;

struct Settled {
    ~Settled() {
        if (alive != 0) {
            std::fprintf(stderr, "the stand-in compiler: %d programs left\n", alive);
            std::fflush(stderr);
            _exit(1);
        }
    }
} settled;

int copy(const std::string& text, char* to) {
    std::memcpy(to, text.c_str(), text.size() + 1);
    return SUCCESS;
}

}  // namespace

NVRTC int nvrtcCreateProgram(Program** program, const char* source, const char*, int headers, const char* const* texts,
                             const char* const* names) {
    bool prelude = false;
    for (int i = 0; i < headers; i++) {
        prelude = prelude || (std::strcmp(names[i], "prelude.cuh") == 0 && std::strstr(texts[i], "namespace pelton"));
    }
    if (!prelude) {
        return INVALID_INPUT;
    }
    *program = new Program{source, "", ""};
    alive++;
    return SUCCESS;
}

NVRTC int nvrtcDestroyProgram(Program** program) {
    delete *program;
    *program = nullptr;
    alive--;
    return SUCCESS;
}

// The entry point's name stands where the record is checked.
NVRTC int nvrtcCompileProgram(Program* program, int options, const char* const* texts) {
    bool architecture = false;
    for (int i = 0; i < options; i++) {
        architecture = architecture || std::strcmp(texts[i], "--gpu-architecture=compute_90") == 0;
    }
    if (!architecture) {
        return INVALID_OPTION;
    }
    const size_t error = program->source.find("#error");
    if (error != std::string::npos) {
        program->log = program->source.substr(error, program->source.find('\n', error) - error);
        return COMPILATION;
    }
    const std::string before = "decltype(&::";
    const size_t at = program->source.find(before) + before.size();
    const std::string name = program->source.substr(at, program->source.find(')', at) - at);
    program->ptx = "//\n.visible .entry " + name + "(\n";
    return SUCCESS;
}

NVRTC int nvrtcGetPTXSize(Program* program, size_t* bytes) {
    *bytes = program->ptx.size() + 1;
    return SUCCESS;
}
NVRTC int nvrtcGetPTX(Program* program, char* to) { return copy(program->ptx, to); }

NVRTC int nvrtcGetProgramLogSize(Program* program, size_t* bytes) {
    *bytes = program->log.size() + 1;
    return SUCCESS;
}
NVRTC int nvrtcGetProgramLog(Program* program, char* to) { return copy(program->log, to); }
