#include "console/service.h"

int main(int argc, char **argv)
{
    return service_main(&console_service, argc, argv);
}
